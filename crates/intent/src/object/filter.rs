use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};

use serde::{Deserialize, Serialize};

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
}

/// What a rule looks at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Match {
    /// The device it came in by.
    In(String),
    /// The device it leaves by.
    Out(String),
    /// IPv4 source.
    Source(Ipv4Addr),
    /// IPv4 destination.
    Destination(Ipv4Addr),
    /// IPv4 at all.
    Ipv4,
    /// IPv6 at all.
    Ipv6,
    /// ICMP over IPv4.
    Icmp,
    /// IPv6 destination.
    Destination6(Ipv6Addr),
    /// ICMPv6 port unreachable about an IPv6 packet with this next header.
    UnreachableAbout(u8),
    /// The same, about one with this next header behind destination options.
    UnreachableBehindOptions(u8),
    /// ICMP port unreachable about an IPv4 packet of this protocol.
    UnreachableAbout4(u8),
    /// The opening packets of a TCP connection.
    TcpSyn,
}

/// What a rule does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// Lets the packet through this chain.
    Accept,
    /// Drops it.
    Drop,
    /// Lowers the maximum segment size to this many bytes, where it is larger.
    ClampMss(u16),
}

/// How the comment of each of our rules begins.
pub const MARK: &str = "straddle ";

impl fmt::Display for FilterRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{MARK}{}:", self.bridge)?;
        if self.chain == Chain::Output {
            write!(f, " output")?;
        }
        for part in &self.matches {
            match part {
                Match::In(dev) => write!(f, " iif {dev}"),
                Match::Out(dev) => write!(f, " oif {dev}"),
                Match::Source(address) => write!(f, " from {address}"),
                Match::Destination(address) => write!(f, " to {address}"),
                Match::Ipv4 => write!(f, " ipv4"),
                Match::Ipv6 => write!(f, " ipv6"),
                Match::Icmp => write!(f, " icmp"),
                Match::Destination6(address) => write!(f, " to {address}"),
                Match::UnreachableAbout(protocol) => write!(f, " unreachable about {protocol}"),
                Match::UnreachableBehindOptions(protocol) => {
                    write!(f, " unreachable about options, {protocol}")
                }
                Match::UnreachableAbout4(protocol) => write!(f, " icmp unreachable about {protocol}"),
                Match::TcpSyn => write!(f, " tcp syn"),
            }?;
        }
        match self.verdict {
            Verdict::Accept => write!(f, " accept"),
            Verdict::Drop => write!(f, " drop"),
            Verdict::ClampMss(size) => write!(f, " mss {size}"),
        }
    }
}
