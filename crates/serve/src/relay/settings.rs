//! What a relay is told.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use ipnet::{IpNet, Ipv6Net};

use super::slab::milliseconds;

/// A relay to be served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Relay {
    /// The bridge that it belongs to.
    pub bridge: String,
    /// Where it listens.
    pub listens: Vec<Listen>,
    /// Where connections go.
    pub target: Target,
    /// How it treats them.
    pub rules: Rules,
}

/// Ports of one address of one family. Several may have the same `word`: they are counted together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listen {
    /// The word of the file, by which it is counted.
    pub word: String,
    /// TCP or UDP.
    pub protocol: Protocol,
    /// The address; an unspecified one stands for all of its family, and for no other.
    pub address: IpAddr,
    /// The first port.
    pub first: u16,
    /// The last port; the first one's offset is kept at the target.
    pub last: u16,
}

/// What is relayed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// Connections.
    Tcp,
    /// Datagrams, by sessions.
    Udp,
}

/// Where connections of the first port of a range go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// One address.
    Address(SocketAddr),
    /// A name, asked for anew for each connection, and a port.
    Name(String, u16),
}

/// How a relay treats its connections.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules {
    /// Whether the target is sent a PROXY header, version 2.
    pub proxy_out: bool,
    /// Connections from here begin with a PROXY header, version 1 or 2.
    pub accept_proxy: Vec<IpNet>,
    /// Clients that may connect; none for all.
    pub allow: Vec<IpNet>,
    /// Private addresses that the target's name may have.
    pub allow_private: Vec<IpNet>,
    /// A prefix of 96 bits in which the target sees the client's IPv4 address.
    pub embed: Option<Ipv6Net>,
    /// At most so many connections and sessions at once, of all listeners together.
    pub max_connections: Option<u32>,
    /// At most so many of one client.
    pub max_per_source: Option<u32>,
    /// For a PROXY header, and then for the name and the connection to the target together.
    pub connect_timeout: Duration,
    /// A connection, and a session, in which nothing moves for so long ends.
    pub idle_timeout: [Duration; 2],
    /// The same where one side has closed.
    pub half_close_timeout: Duration,
    /// How long connections may go on once all are to end.
    pub drain_time: Duration,
}

impl Default for Rules {
    fn default() -> Self {
        Rules {
            proxy_out: false,
            accept_proxy: Vec::new(),
            allow: Vec::new(),
            allow_private: Vec::new(),
            embed: None,
            max_connections: None,
            max_per_source: None,
            connect_timeout: Duration::from_secs(10),
            idle_timeout: [7440, 300].map(Duration::from_secs),
            half_close_timeout: Duration::from_secs(120),
            drain_time: Duration::from_secs(30),
        }
    }
}

impl Rules {
    /// Milliseconds after which one of this protocol ends in which nothing moves.
    pub(super) fn idle(&self, protocol: Protocol) -> u64 {
        let [tcp, udp] = self.idle_timeout.map(milliseconds);
        match protocol {
            Protocol::Tcp => tcp,
            Protocol::Udp => udp,
        }
    }

    /// Whether this client may connect.
    pub(super) fn allows(&self, client: IpAddr) -> bool {
        self.allow.is_empty() || self.allow.iter().any(|net| net.contains(&client))
    }

    /// Whether what comes from here begins with a PROXY header.
    pub(super) fn expects_header(&self, peer: IpAddr) -> bool {
        self.accept_proxy.iter().any(|net| net.contains(&peer))
    }
}

impl Target {
    /// The target of a port that lies so far behind the first.
    pub(super) fn shifted(&self, offset: u16) -> Target {
        match self {
            Target::Address(address) => {
                Target::Address(SocketAddr::new(address.ip(), address.port().saturating_add(offset)))
            }
            Target::Name(name, port) => Target::Name(name.clone(), port.saturating_add(offset)),
        }
    }
}
