use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::ops::RangeInclusive;

use ipnet::{Ipv4Net, Ipv6Net};
use serde::{Deserialize, Serialize};

use crate::model::Transport;

/// Our nft table: a chain at each hook, loaded as a whole.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Filter {
    /// Its rules, in order.
    pub rules: Vec<FilterRule>,
}

/// One rule. Its text is also its comment in the kernel: the mark, and what tells whether it is in step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FilterRule {
    /// The bridge it belongs to.
    pub bridge: String,
    /// The hook that it stands at.
    #[serde(default)]
    pub chain: Chain,
    /// All of these must hold.
    pub matches: Vec<Match>,
    /// What is done then.
    pub verdict: Verdict,
}

/// Where packets meet a rule.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Chain {
    /// Those passing through.
    #[default]
    Forward,
    /// Those of this host's own.
    Output,
    /// Those for this host itself.
    Input,
    /// All that come in, before their way is looked up; marks are set here.
    Mark,
    /// This host's own; a mark that is set here has their way looked up again.
    Reroute,
    /// The first of each connection that comes in: where it is for.
    Dnat,
    /// The first of each connection that goes out: where it is from.
    Snat,
}

/// What a rule looks at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Match {
    /// The device it came in by.
    In(String),
    /// Any other device than this one that it came in by.
    NotIn(String),
    /// The device it leaves by.
    Out(String),
    /// IPv4 source.
    Source(Ipv4Addr),
    /// IPv4 source inside a network.
    Within(Ipv4Net),
    /// IPv4 destination.
    Destination(Ipv4Addr),
    /// Destination ports of a protocol, both ends included.
    Ports(Transport, u16, u16),
    /// IPv4 at all.
    Ipv4,
    /// IPv6 at all.
    Ipv6,
    /// ICMP over IPv4.
    Icmp,
    /// IPv6 destination.
    Destination6(Ipv6Addr),
    /// IPv6 source inside a network.
    Source6(Ipv6Net),
    /// IPv6 destination inside a network.
    Destination6Net(Ipv6Net),
    /// A source to which the way leads back by the device that the packet came in by (BCP 38).
    WayBack,
    /// A source to which the way leads by another device than this one, or nowhere.
    NotBehind(String),
    /// ICMPv6 errors (RFC 4443 §2.1: types below 128).
    Errors6,
    /// ICMPv6 port unreachable about an IPv6 packet with this next header.
    UnreachableAbout(u8),
    /// The same, about one with this next header behind destination options.
    UnreachableBehindOptions(u8),
    /// ICMP port unreachable about an IPv4 packet of this protocol.
    UnreachableAbout4(u8),
    /// The opening packets of a TCP connection.
    TcpSyn,
    /// A connection whose destination was changed on this host, either way, or an error about one.
    Redirected,
    /// A connection that has been seen before, or an error about one.
    Known,
    /// A connection that bears this mark.
    Marked(u32),
}

/// What a rule does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// Lets the packet through this chain.
    Accept,
    /// Drops it.
    Drop,
    /// Drops and counts it.
    Count,
    /// Lowers the maximum segment size to this many bytes, where it is larger.
    ClampMss(u16),
    /// Sends the connection to this address.
    Dnat(Ipv4Addr),
    /// Sends those to ports from the first on to this address, ports from the last on.
    DnatPorts(Transport, u16, u16, Ipv4Addr, u16),
    /// Has the connection come from this address.
    Snat(Ipv4Addr),
    /// Has it come from the address of the device that it leaves by.
    Masquerade,
    /// Marks the connection.
    MarkConnection(u32),
    /// Marks the packet.
    MarkPacket(u32),
}

/// How the comment of each of our rules begins.
pub const MARK: &str = "straddle ";

/// Bytes that a comment has room for (`NFTNL_UDATA_COMMENT_MAXLEN`, with its end).
pub const MAX_COMMENT: usize = 127;

impl Chain {
    /// Every chain, as the kernel meets them.
    pub const ALL: [Chain; 7] =
        [Chain::Forward, Chain::Output, Chain::Input, Chain::Mark, Chain::Reroute, Chain::Dnat, Chain::Snat];

    /// Its name in our table.
    pub fn word(self) -> &'static str {
        match self {
            Chain::Forward => "forward",
            Chain::Output => "output",
            Chain::Input => "input",
            Chain::Mark => "mark",
            Chain::Reroute => "reroute",
            Chain::Dnat => "dnat",
            Chain::Snat => "snat",
        }
    }
}

/// Connections to an address of this host, or to ports of it, that a rule sends to another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diversion {
    /// The address that is called.
    pub address: Ipv4Addr,
    /// The ports that are meant, both ends included; all where there are none.
    pub ports: Option<(Transport, u16, u16)>,
    /// Who gets them.
    pub to: Ipv4Addr,
}

impl Diversion {
    /// Out of a rule's comment, which is all that is left of a rule that another straddle made. Neighbours' calls by
    /// one device count too.
    pub fn read(comment: &str) -> Option<Diversion> {
        let (_, rule) = comment.strip_prefix(MARK)?.split_once(": ")?;
        let words: Vec<&str> = rule.split(' ').collect();
        let words = match words.as_slice() {
            ["iif", _, rest @ ..] => rest,
            all => all,
        };
        let (address, ports, to) = match words {
            ["to", address, "dnat", to] => (address, None, to),
            ["to", address, transport, ports, "dnat", to] => {
                let transport =
                    [Transport::Tcp, Transport::Udp].into_iter().find(|it| it.word() == *transport);
                let (first, last) = ports.split_once('-').unwrap_or((ports, ports));
                (address, Some((transport?, first.parse().ok()?, last.parse().ok()?)), to)
            }
            _ => return None,
        };
        let to = to.split(':').next()?.parse().ok()?;
        Some(Diversion { address: address.parse().ok()?, ports, to })
    }
}

impl FilterRule {
    /// The address whose new connections, from wherever, this rule sends away from this host, and which of its
    /// TCP ports; all of them where it names none.
    pub fn diverts(&self) -> Option<(Ipv4Addr, Option<RangeInclusive<u16>>)> {
        let [Match::Destination(address)] = self.matches.as_slice() else { return None };
        if let Verdict::DnatPorts(Transport::Tcp, first, last, ..) = self.verdict {
            return Some((*address, Some(first..=last)));
        }
        matches!(self.verdict, Verdict::Dnat(_)).then_some((*address, None))
    }
}

impl fmt::Display for FilterRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{MARK}{}:", self.bridge)?;
        // What an address or a port becomes says itself which chain it stands in.
        match self.chain {
            Chain::Forward | Chain::Dnat | Chain::Snat => {}
            Chain::Output | Chain::Input | Chain::Mark | Chain::Reroute => {
                write!(f, " {}", self.chain.word())?;
            }
        }
        self.matches.iter().try_for_each(|part| write!(f, " {part}"))?;
        write!(f, " {}", self.verdict)
    }
}

impl fmt::Display for Match {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Match::In(dev) => write!(f, "iif {dev}"),
            Match::NotIn(dev) => write!(f, "iif not {dev}"),
            Match::Out(dev) => write!(f, "oif {dev}"),
            Match::Source(address) => write!(f, "from {address}"),
            Match::Within(net) => write!(f, "from {net}"),
            Match::Destination(address) => write!(f, "to {address}"),
            Match::Ports(transport, first, last) => write!(f, "{} {}", transport.word(), span(*first, *last)),
            Match::Ipv4 => write!(f, "ipv4"),
            Match::Ipv6 => write!(f, "ipv6"),
            Match::Icmp => write!(f, "icmp"),
            Match::Destination6(address) => write!(f, "to {address}"),
            Match::Source6(net) => write!(f, "from {net}"),
            Match::Destination6Net(net) => write!(f, "to {net}"),
            Match::WayBack => write!(f, "way back"),
            Match::NotBehind(dev) => write!(f, "from not behind {dev}"),
            Match::Errors6 => write!(f, "icmpv6 errors"),
            Match::UnreachableAbout(protocol) => write!(f, "unreachable about {protocol}"),
            Match::UnreachableBehindOptions(protocol) => write!(f, "unreachable about options, {protocol}"),
            Match::UnreachableAbout4(protocol) => write!(f, "icmp unreachable about {protocol}"),
            Match::TcpSyn => write!(f, "tcp syn"),
            Match::Redirected => write!(f, "redirected"),
            Match::Known => write!(f, "known"),
            Match::Marked(mark) => write!(f, "marked {mark}"),
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Verdict::Accept => write!(f, "accept"),
            Verdict::Drop => write!(f, "drop"),
            Verdict::Count => write!(f, "count, drop"),
            Verdict::ClampMss(size) => write!(f, "mss {size}"),
            Verdict::Dnat(address) => write!(f, "dnat {address}"),
            Verdict::DnatPorts(transport, first, last, address, inner) => {
                let inners = span(*inner, inner.saturating_add(last.saturating_sub(*first)));
                write!(f, "{} {} dnat {address}:{inners}", transport.word(), span(*first, *last))
            }
            Verdict::Snat(address) => write!(f, "snat {address}"),
            Verdict::Masquerade => write!(f, "masquerade"),
            Verdict::MarkConnection(mark) => write!(f, "mark connection {mark}"),
            Verdict::MarkPacket(mark) => write!(f, "mark packet {mark}"),
        }
    }
}

fn span(first: u16, last: u16) -> String {
    if first == last { first.to_string() } else { format!("{first}-{last}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_comment_tells_what_is_diverted() {
        let check = |by: Option<&str>, verdict: Verdict, ports: Option<(Transport, u16, u16)>| {
            let to = Match::Destination([203, 0, 113, 144].into());
            let matches = by.map(|dev| Match::In(dev.into())).into_iter().chain([to]).collect();
            let rule = FilterRule { bridge: "home".into(), chain: Chain::Dnat, matches, verdict };
            let expected =
                Diversion { address: [203, 0, 113, 144].into(), ports, to: [192, 168, 1, 210].into() };
            assert_eq!(Diversion::read(&rule.to_string()), Some(expected), "{rule}");
        };
        let target: Ipv4Addr = [192, 168, 1, 210].into();
        let (tcp, udp) = (Transport::Tcp, Transport::Udp);
        check(None, Verdict::Dnat(target), None);
        check(Some("lan0"), Verdict::Dnat(target), None);
        check(None, Verdict::DnatPorts(tcp, 8443, 8443, target, 443), Some((tcp, 8443, 8443)));
        check(Some("lan0"), Verdict::DnatPorts(udp, 20, 30, target, 40), Some((udp, 20, 30)));
        let other = "straddle home: iif st-home to 192.168.1.210 accept";
        assert_eq!(Diversion::read(other), None);
        assert_eq!(Diversion::read("to 192.0.2.1 dnat 192.0.2.2"), None, "not ours");
    }

    #[test]
    fn the_longest_rule_has_room_in_a_comment() {
        let far: Ipv4Addr = [255, 255, 255, 255].into();
        let rule = FilterRule {
            bridge: format!("publish-{far}"),
            chain: Chain::Dnat,
            matches: vec![Match::In("wan-of-15-chars".into()), Match::Destination(far)],
            verdict: Verdict::DnatPorts(Transport::Udp, 20_000, 20_015, far, 65_000),
        };
        assert!(rule.to_string().len() <= MAX_COMMENT, "{} bytes: {rule}", rule.to_string().len());
    }
}
