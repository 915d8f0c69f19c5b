//! Somebody else's objects, of the same shape as ours, are left alone, or `up` refuses and says so.
//!
//! ```text
//!  inet ── switch ── lender: has the foreign object
//!    └───────────── borrower: has the foreign object
//! ```

use straddle_lab::LabError;
use straddle_lab::host::Host;
use straddle_lab::state::HostState;
use straddle_lab::straddle::Straddle;
use straddle_lab::world::{World, WorldOptions};

use crate::{CARRIERS, exe, turn};

/// What `up` has to do about it.
pub(crate) enum Then {
    /// Refuse; the message contains this text.
    Refuse(&'static str),
    /// Work, and leave it where it is, also on `down`.
    LeaveIt,
}
use Then::{LeaveIt, Refuse};

/// `DEV` in the lines stands for the name of the carrier's device.
pub(crate) struct Foreign {
    pub(crate) name: &'static str,
    pub(crate) ip: &'static str,
    pub(crate) nft: &'static str,
    pub(crate) then: Then,
}

/// The name that straddle gives its device on this host.
fn device(straddle: &Straddle, host: &Host) -> Result<String, LabError> {
    straddle.on(host).up()?;
    let links = host.ip_json("link show")?;
    straddle.on(host).down()?;
    let ours = |link: &&serde_json::Value| {
        link.get("ifalias")
            .and_then(|alias| alias.as_str())
            .is_some_and(|alias| alias.starts_with("straddle:"))
    };
    let found = links.as_array().and_then(|links| links.iter().find(ours));
    Ok(found.and_then(|link| link.get("ifname")?.as_str()).expect("a device with our alias").to_owned())
}

fn check(pick: fn(&World) -> &Host, foreign: &Foreign) -> Result<(), LabError> {
    let world = World::build(WorldOptions::default())?;
    let straddle = Straddle::borrow(&world, exe(), CARRIERS[0])?;
    let host = pick(&world);
    judge(&straddle, host, &device(&straddle, host)?, foreign)
}

/// Gives the host the foreign object, and goes up and down.
pub(crate) fn judge(
    straddle: &Straddle,
    host: &Host,
    device: &str,
    foreign: &Foreign,
) -> Result<(), LabError> {
    let name = foreign.name;
    let bare = HostState::read(host)?;
    host.ip(&foreign.ip.replace("DEV", device))?;
    host.nft(foreign.nft)?;
    let before = HostState::read(host)?;
    let theirs = bare.difference(&before);
    assert!(!theirs.is_empty(), "{name}: there is something foreign");

    let up = straddle.on(host).try_verb(&["up"])?;
    let said = format!("{}{}", up.stdout, up.stderr);
    match foreign.then {
        Refuse(words) => {
            assert!(!up.status.success(), "{name}: up has to refuse\n{said}");
            assert!(said.contains(words), "{name}: expected \"{words}\" in\n{said}");
        }
        LeaveIt => {
            assert!(up.status.success(), "{name}: up has to work\n{said}");
            let now = bare.difference(&HostState::read(host)?);
            let gone: Vec<_> = theirs.iter().filter(|line| !now.contains(line)).collect();
            assert!(gone.is_empty(), "{name}: gone while up\n{gone:#?}");
            straddle.on(host).down()?;
        }
    }
    let changes = before.difference(&HostState::read(host)?);
    assert!(changes.is_empty(), "{name}: not as it was before up\n{}", changes.join("\n"));
    Ok(())
}

#[test]
fn a_lenders_foreign_objects_are_left_alone() -> Result<(), LabError> {
    let Some(_turn) = turn("a_lenders_foreign_objects_are_left_alone") else { return Ok(()) };
    LENDER.iter().try_for_each(|foreign| check(|world| &world.lender, foreign))
}

#[test]
fn a_borrowers_foreign_objects_are_left_alone() -> Result<(), LabError> {
    let Some(_turn) = turn("a_borrowers_foreign_objects_are_left_alone") else { return Ok(()) };
    BORROWER.iter().try_for_each(|foreign| check(|world| &world.borrower, foreign))
}

const LENDER: &[Foreign] = &[
    Foreign {
        name: "a device of the carrier's name",
        ip: "tuntap add DEV mode tun",
        nft: "",
        then: Refuse("not ours"),
    },
    Foreign {
        name: "a route to the address",
        ip: "route add 192.0.2.158/32 via 192.0.2.9",
        nft: "",
        then: Refuse("192.0.2.158"),
    },
    Foreign {
        name: "a default route in our table",
        ip: "route add default via 192.0.2.9 table 4601",
        nft: "",
        then: Refuse("4601"),
    },
    Foreign {
        name: "a rule of our shape",
        ip: "rule add iif DEV lookup 4601 pref 4600",
        nft: "",
        then: Refuse("4601"),
    },
    Foreign {
        name: "an nft table of our name",
        ip: "",
        nft: "table inet straddle { chain forward { type filter hook forward priority 0; policy accept; }; }",
        then: Refuse("inet straddle"),
    },
    Foreign {
        name: "an nft table of our shape",
        ip: "",
        nft: "table inet other { chain forward { type filter hook forward priority 0; policy accept; ip daddr 192.0.2.158 accept; }; }",
        then: LeaveIt,
    },
    Foreign {
        name: "a proxy entry for the address",
        ip: "neigh add proxy 192.0.2.158 dev eth0",
        nft: "",
        then: LeaveIt,
    },
    Foreign {
        name: "a pinned gateway",
        ip: "neigh replace 192.0.2.1 lladdr 02:00:00:00:00:01 dev eth0 nud permanent",
        nft: "",
        then: LeaveIt,
    },
];

const BORROWER: &[Foreign] = &[
    Foreign {
        name: "a device of the carrier's name",
        ip: "tuntap add DEV mode tun",
        nft: "",
        then: Refuse("not ours"),
    },
    Foreign {
        name: "a default route of our metric",
        ip: "address add 10.0.0.5/24 dev eth0\nroute add default via 10.0.0.1 metric 4600",
        nft: "",
        then: Refuse("4600"),
    },
    Foreign {
        name: "a default route of another metric",
        ip: "address add 10.0.0.5/24 dev eth0\nroute add default via 10.0.0.1 metric 10",
        nft: "",
        then: LeaveIt,
    },
    Foreign {
        name: "a rule of our shape",
        ip: "rule add from 192.0.2.158 lookup 4601 pref 4601",
        nft: "",
        then: Refuse("4601"),
    },
    Foreign {
        name: "the address on another device",
        ip: "address add 192.0.2.158/32 dev lo",
        nft: "",
        then: LeaveIt,
    },
    Foreign {
        name: "an nft table of our name",
        ip: "",
        nft: "table inet straddle { chain forward { type filter hook forward priority 0; policy accept; }; }",
        then: Refuse("inet straddle"),
    },
];
