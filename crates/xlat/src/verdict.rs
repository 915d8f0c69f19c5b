//! How a packet ends.

use straddle_wire::ip::Version;
use straddle_wire::vnet;

use crate::Reason;

/// The end of an incoming packet.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Verdict {
    /// It was translated; what came out is of kind [`Kind::Forward`].
    Forward,
    /// It was answered: an ICMP error for the reason given, or an echo reply from the translator itself.
    Reply(Reason),
    /// It is none of the translator's: left as it was to whoever else handles it.
    Pass(Reason),
    /// Nothing came out.
    Drop(Reason),
}

impl Verdict {
    /// Why it is not [`Verdict::Forward`].
    #[must_use]
    pub const fn reason(self) -> Option<Reason> {
        match self {
            Self::Forward => None,
            Self::Reply(reason) | Self::Pass(reason) | Self::Drop(reason) => Some(reason),
        }
    }
}

/// What an outgoing packet is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kind {
    /// The incoming packet, or a fragment of it, translated.
    Forward,
    /// The translator's own answer to the sender of the incoming packet.
    Reply,
}

/// A packet that comes out: `head` and then `payload`.
#[derive(Clone, Copy, Debug)]
pub struct Out<'a> {
    /// The network that it goes to, which is the version of its header.
    pub side: Version,
    /// What it is.
    pub kind: Kind,
    /// For a tun device with `IFF_VNET_HDR`: what is left to the kernel (checksum, segmentation).
    pub offload: vnet::Header,
    /// Every byte that the translator wrote: at most [`Out::HEAD`].
    pub head: &'a [u8],
    /// The rest: a slice of the incoming packet, untouched.
    pub payload: &'a [u8],
}

impl Out<'_> {
    /// The longest head, in bytes. (An ICMPv6 error is written as a whole.)
    pub const HEAD: usize = 1280;

    /// Length of the packet, in bytes.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.head.len() + self.payload.len()
    }

    /// Whether there is no byte; no packet that comes out is so.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
