//! The two makes of a carrier, and which is taken.

use std::collections::BTreeMap;

use serde::Serialize;
use straddle_encap::Kind;

use crate::model::{BackendChoice, Model};
use crate::object::{Format, Hook, Link, LinkKind, Tunnel};

use super::kind_word;

/// What the kernel answers when asked for a tunnel device of each kind, by the word of `ip link add
/// type`: nothing where it makes one, else its own words. And whether it takes the programs of the fast path, by
/// [`Offers::FAST_PATH`] and the words after it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Offers(pub BTreeMap<&'static str, Option<String>>);

/// Which make of a carrier, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Backend {
    /// The make.
    pub make: Make,
    /// Why, a part of a sentence.
    pub why: String,
}

/// A make of a carrier; the wire is the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Make {
    /// The kernel's tunnel device: no process needs to stay.
    Kernel,
    /// A tun device that a process of ours serves.
    Tun,
}

/// A carrier that ends on a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ending {
    /// Its format on the wire.
    pub(crate) kind: Kind,
    /// Whether the host lends by it, and packets shall go past its device.
    pub(crate) direct: bool,
}

impl From<Kind> for Ending {
    fn from(kind: Kind) -> Ending {
        Ending { kind, direct: false }
    }
}

impl Offers {
    /// The word for a translator's program.
    pub const FAST_PATH: &'static str = "fast-path";
    /// The word for a translator's program behind somebody else's device.
    pub const FAST_DIRECT: &'static str = "fast-direct";
    /// The word for a carrier's program that encapsulates.
    pub const FAST_OUTWARD: &'static str = "fast-outward";
    /// The word for one that decapsulates.
    pub const FAST_INWARD: &'static str = "fast-inward";
    /// The word for a lender's program, which does both past the carrier's device.
    pub const FAST_LENDER: &'static str = "fast-lender";
    /// The word for the hook that programs behind somebody else's device have to themselves.
    pub const TCX: &'static str = "tcx";

    /// Whether the kernel was asked for this program of the fast path.
    pub fn knows_fast(&self, program: &str) -> bool {
        self.0.contains_key(program)
    }

    /// Why the kernel does not take this program of the fast path; none when it does.
    pub fn fast_refusal(&self, program: &str) -> Option<String> {
        match self.0.get(program) {
            Some(refusal) => refusal.clone(),
            None => Some("the kernel could not be asked: that needs root".into()),
        }
    }

    /// Why the kernel does not send a lender's packets past the carrier's device; none when it does.
    pub fn past_refusal(&self) -> Option<String> {
        let needed = [Offers::FAST_OUTWARD, Offers::FAST_INWARD, Offers::FAST_LENDER];
        needed.into_iter().find_map(|program| self.fast_refusal(program))
    }

    /// Where a program stands behind somebody else's device that serves this one of ours.
    pub fn ingress(&self, into: &str) -> Hook {
        let has_tcx = self.0.get(Offers::TCX).is_some_and(Option::is_none);
        if has_tcx { Hook::Tcx(into.into()) } else { Hook::Clsact(into.into()) }
    }

    /// Whether the kernel was asked for this kind of carrier.
    pub fn knows(&self, kind: Kind) -> bool {
        self.0.contains_key(Format::from(kind).word())
    }

    /// Why the kernel has no device for this kind of carrier; none when it has.
    pub fn refusal(&self, kind: Kind) -> Option<String> {
        match self.0.get(Format::from(kind).word()) {
            Some(None) => None,
            Some(Some(why)) => Some(why.clone()),
            None => Some("it was not asked".into()),
        }
    }
}

impl Backend {
    pub(crate) fn choose(model: &Model, host: &str, ending: Ending, offers: &Offers) -> Backend {
        let kind = ending.kind;
        let choice =
            model.hosts.iter().find(|known| known.name == host).and_then(|host| host.backend.as_ref());
        match (choice.map_or(BackendChoice::Auto, |choice| choice.value), offers.refusal(kind)) {
            (BackendChoice::Tun, _) => Backend { make: Make::Tun, why: "as the file says".into() },
            (BackendChoice::Kernel, _) => Backend { make: Make::Kernel, why: "as the file says".into() },
            (BackendChoice::Auto, None) if ending.direct && offers.past_refusal().is_none() => {
                Backend { make: Make::Tun, why: "`direct` goes past a tun device".into() }
            }
            (BackendChoice::Auto, None) => {
                Backend { make: Make::Kernel, why: format!("this kernel has {}", kind_word(kind)) }
            }
            (BackendChoice::Auto, Some(_)) if !offers.knows(kind) => {
                let why = format!("the kernel could not be asked for {}: that needs root", kind_word(kind));
                Backend { make: Make::Tun, why }
            }
            (BackendChoice::Auto, Some(why)) => {
                Backend { make: Make::Tun, why: format!("this kernel has no {}: {why}", kind_word(kind)) }
            }
        }
    }

    /// The device of a carrier of this make.
    pub(super) fn link(&self, name: &str, bridge: &str, mtu: u32, tunnel: Tunnel) -> Link {
        let kind = match self.make {
            Make::Kernel => LinkKind::Tunnel(tunnel),
            Make::Tun => LinkKind::Tun,
        };
        Link { name: name.into(), kind, mtu, up: true, bridge: Some(bridge.into()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A host that lends by ip6gre, with these lines in its section and in that of the bridge.
    fn model(host: &str, bridge: &str) -> Model {
        let text = format!(
            r#"
            [host.lender]
            uplink = "eth0"
            ipv4 = "192.0.2.158/24"
            gateway4 = "192.0.2.1"
            ipv6 = "2001:db8:aefc::2"
            {host}
            [host.borrower]
            uplink = "eth0"
            ipv6 = "2001:db8:eec0::2"
            [[borrow]]
            address = "192.0.2.158"
            from = "lender"
            to = "borrower"
            {bridge}
            "#
        );
        crate::model::read(&text).unwrap()
    }

    const PROGRAMS: [&str; 3] = [Offers::FAST_OUTWARD, Offers::FAST_INWARD, Offers::FAST_LENDER];

    #[test]
    fn a_lenders_device_is_tun_where_packets_go_past_it() {
        let check = |host: &str, direct: bool, lacks: &[&str], expected: Make| {
            let model = model(host, "direct = true");
            let one = |word| (word, lacks.contains(&word).then(|| "none".to_string()));
            let offers = Offers(PROGRAMS.into_iter().chain(["ip6gre"]).map(one).collect());
            let ending = Ending { kind: Kind::Ip6gre { key: None }, direct };
            let chosen = Backend::choose(&model, "lender", ending, &offers);
            assert_eq!(chosen.make, expected, "{host}, {direct}, without {lacks:?}: {}", chosen.why);
        };
        check("", true, &[], Make::Tun);
        check("", false, &[], Make::Kernel);
        for program in PROGRAMS {
            check("", true, &[program], Make::Kernel);
            check("", true, &[program, "ip6gre"], Make::Tun);
        }
        check("carrier-backend = \"tun\"", true, &PROGRAMS, Make::Tun);
    }

    #[test]
    fn the_kernel_is_asked_for_what_decides() {
        let check = |bridge: &str, refusal: Option<&str>, expected: &[&str]| {
            let offers = Offers([("ip6gre", refusal.map(str::to_string))].into());
            assert_eq!(crate::site::programs(&model("", bridge), &offers), expected, "{bridge}, {refusal:?}");
        };
        check("direct = true", None, &PROGRAMS);
        check("direct = true", Some("none"), &PROGRAMS);
        check("direct = false", None, &[]);
        check("direct = false", Some("none"), &[Offers::FAST_OUTWARD, Offers::FAST_INWARD]);
    }
}
