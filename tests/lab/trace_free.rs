//! `up` and `down` on hosts that are not bare: nothing of theirs may be lost or moved.
//!
//! ```text
//!  inet ── switch ── lender: furnished by the case
//!    └───────────── borrower: furnished by the case
//! ```

use straddle_lab::LabError;
use straddle_lab::host::Host;
use straddle_lab::probe::ping;
use straddle_lab::state::HostState;
use straddle_lab::straddle::Straddle;
use straddle_lab::world::{World, WorldOptions};

use crate::{CARRIERS, Moved, exe, same, turn};

/// What a host has besides: `ip` lines, sysctls, an nft ruleset.
#[derive(Default)]
struct Furniture {
    name: &'static str,
    sysctls: &'static [(&'static str, &'static str)],
    ip: &'static str,
    nft: &'static str,
}

impl Furniture {
    fn put_on(&self, host: &Host) -> Result<(), LabError> {
        // Some sysctls belong to devices that the lines make, some decide what the lines do.
        let (first, later): (Vec<_>, Vec<_>) =
            self.sysctls.iter().partition(|(key, _)| !key.contains("/home/"));
        first.iter().try_for_each(|(key, value)| host.sysctl(key, value))?;
        host.ip(self.ip)?;
        later.iter().try_for_each(|(key, value)| host.sysctl(key, value))?;
        host.run(&["ip", "-6", "rule", "add", "from", "2001:db8:77::/48", "lookup", "100", "pref", "100"])?;
        host.nft(self.nft)
    }
}

/// Up, up again, down, down again on one host of a fresh world; returns what is wrong.
fn check(pick: fn(&World) -> &Host, furniture: &Furniture) -> Result<Vec<String>, LabError> {
    let world = World::build(WorldOptions::default())?;
    let host = pick(&world);
    furniture.put_on(host)?;
    let straddle = Straddle::borrow(&world, exe(), CARRIERS[0])?;
    let before = HostState::read(host)?;
    straddle.on(host).up()?;
    let up = HostState::read(host)?.configured();
    assert!(!before.clone().configured().difference(&up).is_empty(), "up does something");
    straddle.on(host).up()?;
    let mut wrong = named("second up", up.difference(&HostState::read(host)?.configured()));
    straddle.on(host).down()?;
    wrong.extend(named("down", before.difference(&HostState::read(host)?)));
    straddle.on(host).down()?;
    wrong.extend(named("second down", before.difference(&HostState::read(host)?)));
    Ok(wrong)
}

fn named(when: &str, changes: Vec<String>) -> Vec<String> {
    changes.into_iter().map(|change| format!("  {when}: {change}")).collect()
}

/// Every case is tried, so that one run tells of all that fail.
#[track_caller]
fn check_all(pick: fn(&World) -> &Host, cases: &[Furniture]) {
    let mut wrong = Vec::new();
    for furniture in cases {
        let found = check(pick, furniture).unwrap_or_else(|error| vec![error.to_string()]);
        if !found.is_empty() {
            wrong.push(format!("{}:\n{}", furniture.name, found.join("\n")));
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn a_lender_gets_everything_back() {
    let Some(_turn) = turn("a_lender_gets_everything_back") else { return };
    check_all(|world| &world.lender, LENDERS);
}

#[test]
fn a_borrower_gets_everything_back() {
    let Some(_turn) = turn("a_borrower_gets_everything_back") else { return };
    check_all(|world| &world.borrower, BORROWERS);
}

#[test]
fn traffic_and_run_leave_no_trace() -> Result<(), LabError> {
    let Some(_turn) = turn("traffic_and_run_leave_no_trace") else { return Ok(()) };
    for carrier in CARRIERS {
        let world = World::build(WorldOptions::default())?;
        let states = [HostState::read(&world.lender)?, HostState::read(&world.borrower)?];
        let straddle = Straddle::borrow(&world, exe(), carrier)?;
        let running = [straddle.on(&world.lender).run()?, straddle.on(&world.borrower).run()?];
        let moved = Moved { world, straddle, running };
        let answered = ping(&moved.world.client, straddle_lab::world::BORROWED.into(), 20)?;
        assert!(answered.complete(), "{carrier}: {answered:?}");
        let world = moved.down()?;
        same(&carrier.to_string(), &states[0], &world.lender);
        same(&carrier.to_string(), &states[1], &world.borrower);
    }
    Ok(())
}

/// The lender's other addresses serve on while one is lent.
#[test]
fn the_lenders_other_addresses_stay_reachable() -> Result<(), LabError> {
    let Some(_turn) = turn("the_lenders_other_addresses_stay_reachable") else { return Ok(()) };
    let world = World::build(WorldOptions::default())?;
    world.lender.ip("address add 192.0.2.159/24 dev eth0\naddress add 192.0.2.160/32 dev eth0")?;
    let straddle = Straddle::borrow(&world, exe(), CARRIERS[0])?;
    let _running = [straddle.on(&world.lender).run()?, straddle.on(&world.borrower).run()?];
    for address in ["192.0.2.158", "192.0.2.159", "192.0.2.160"] {
        let answered = ping(&world.client, address.parse().unwrap(), 5)?;
        assert!(answered.complete(), "{address}: {answered:?}");
    }
    Ok(())
}

const LENDERS: &[Furniture] = &[
    Furniture { name: "bare", sysctls: &[], ip: "", nft: "" },
    Furniture {
        name: "secondary addresses after it",
        sysctls: &[("net/ipv4/conf/all/promote_secondaries", "0")],
        ip: "address add 192.0.2.159/24 dev eth0
             address add 10.1.2.3/24 dev eth0
             address add 192.0.2.160/24 dev eth0 label eth0:web
             address add 192.0.2.161/25 dev eth0",
        nft: "",
    },
    Furniture {
        name: "secondary addresses after it, promoted",
        sysctls: &[("net/ipv4/conf/all/promote_secondaries", "1")],
        ip: "address add 192.0.2.159/24 dev eth0
             address add 192.0.2.160/24 dev eth0
             route add 10.9.0.0/16 via 192.0.2.9 src 192.0.2.159",
        nft: "",
    },
    Furniture {
        name: "itself a secondary address",
        sysctls: &[],
        ip: "address del 192.0.2.158/24 dev eth0
             address add 10.1.2.3/24 dev eth0
             address add 192.0.2.150/24 dev eth0
             address add 192.0.2.158/24 dev eth0
             address add 192.0.2.160/24 dev eth0
             route add default via 192.0.2.1",
        nft: "",
    },
    Furniture {
        name: "routes of every kind",
        sysctls: &[],
        ip: "route add 10.1.0.0/16 via 192.0.2.9
             route add 10.2.0.0/16 dev eth0 metric 7 src 192.0.2.158 proto static
             route add 10.3.0.0/16 nexthop via 192.0.2.9 weight 2 nexthop via 192.0.2.10
             route add blackhole 10.4.0.0/16
             route add 10.5.0.0/16 via 192.0.2.9 mtu 1400 advmss 1300
             route add default via 192.0.2.9 metric 50
             route add 192.0.2.0/24 dev eth0 table 100
             route add default via 192.0.2.1 table 100 src 192.0.2.158
             route add 192.0.2.200/32 dev eth0 scope link
             route add 2001:db8:77::/48 via 2001:db8:aefc::9
             rule add from 192.0.2.158 lookup 100 pref 100
             rule add from 10.0.0.0/8 prohibit pref 101",
        nft: "",
    },
    Furniture {
        name: "the default route as cloud images have it",
        sysctls: &[],
        ip: "route del default via 192.0.2.1
             route add default via 192.0.2.1 proto dhcp src 192.0.2.158 metric 100
             route add 192.0.2.1 dev eth0 proto dhcp scope link src 192.0.2.158 metric 100",
        nft: "",
    },
    Furniture {
        name: "an address as DHCP clients give it",
        sysctls: &[],
        ip: "address del 192.0.2.158/24 dev eth0
             address add 192.0.2.158/24 brd 192.0.2.255 dev eth0 noprefixroute valid_lft 86400 preferred_lft 86400
             route add 192.0.2.0/24 dev eth0 proto dhcp scope link src 192.0.2.158
             route add default via 192.0.2.1 proto dhcp src 192.0.2.158",
        nft: "",
    },
    Furniture {
        name: "a router at home",
        sysctls: &[
            ("net/ipv4/ip_forward", "1"),
            ("net/ipv6/conf/all/forwarding", "1"),
            ("net/ipv4/conf/all/rp_filter", "1"),
            ("net/ipv4/conf/eth0/rp_filter", "1"),
            ("net/ipv4/conf/eth0/proxy_arp", "1"),
            ("net/ipv4/neigh/eth0/proxy_delay", "33"),
            ("net/ipv4/conf/home/forwarding", "0"),
        ],
        ip: "link add home type bridge
             link set home up
             address add 10.0.8.1/24 dev home",
        nft: "table inet home {
                chain forward {
                    type filter hook forward priority 0; policy accept;
                    tcp dport 22 counter accept
                }
                chain nat { type nat hook postrouting priority 100; masquerade; };
              }
              table ip6 other { set hosts { type ipv6_addr; elements = { 2001:db8::1 }; }; }",
    },
    Furniture {
        name: "forwarding on one device alone",
        sysctls: &[
            ("net/ipv4/conf/home/forwarding", "1"),
            ("net/ipv4/conf/home/rp_filter", "2"),
            ("net/ipv4/conf/default/rp_filter", "1"),
        ],
        ip: "link add home type bridge
             link set home up
             address add 10.0.8.1/24 dev home",
        nft: "",
    },
    Furniture {
        name: "neighbours",
        sysctls: &[],
        ip: "neigh replace 192.0.2.1 lladdr 02:00:00:00:00:01 dev eth0 nud permanent
             neigh replace 192.0.2.9 lladdr 02:00:00:00:00:09 dev eth0 nud permanent
             neigh add proxy 192.0.2.44 dev eth0
             neigh replace 2001:db8:aefc::9 lladdr 02:00:00:00:00:09 dev eth0 nud permanent
             neigh add proxy 2001:db8:aefc::44 dev eth0",
        nft: "",
    },
];

const BORROWERS: &[Furniture] = &[
    Furniture { name: "bare", sysctls: &[], ip: "", nft: "" },
    Furniture {
        name: "private IPv4 with a default route",
        sysctls: &[("net/ipv4/conf/all/rp_filter", "1"), ("net/ipv4/conf/default/rp_filter", "1")],
        ip: "address add 10.0.0.5/24 dev eth0
             route add default via 10.0.0.1 metric 100
             rule add from 10.0.0.5 lookup 77 pref 77
             route add default via 10.0.0.1 table 77",
        nft: "table inet filter { chain input { type filter hook input priority 0; policy accept; }; }",
    },
    Furniture {
        name: "containers behind a bridge",
        sysctls: &[("net/ipv4/ip_forward", "1")],
        ip: "link add home type bridge
             link set home up
             address add 172.17.0.1/16 dev home",
        nft: "table ip nat { chain post { type nat hook postrouting priority 100; ip saddr 172.17.0.0/16 masquerade; }; }",
    },
];
