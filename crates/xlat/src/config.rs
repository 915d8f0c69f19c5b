//! What a translator is told.

use alloc::vec::Vec;
use core::net::{Ipv4Addr, Ipv6Addr};

use ipnet::{Ipv4Net, Ipv6Net};

use crate::{eam, rfc6052};

/// Everything that a translator must know.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Config {
    /// Which addresses translate how.
    pub mode: Mode,
    /// RFC 6052 prefixes. All are understood (the longest match first); the first is the one that IPv4
    /// addresses are put into.
    pub pool6: Vec<rfc6052::Prefix>,
    /// Explicit address mappings (RFC 7757); they go before `pool6`.
    pub eam: eam::Table,
    /// The translator's own IPv4 address: source of its ICMPv4 errors. 192.0.0.8 stands in where
    /// there is none.
    pub own4: Option<Ipv4Addr>,
    /// The translator's own IPv6 address: source of its ICMPv6 errors. 192.0.0.8 in the first of `pool6`
    /// that may have it stands in where there is none.
    pub own6: Option<Ipv6Addr>,
    /// Source addresses for ICMPv6 errors whose source can't be translated (RFC 6791). Where there is
    /// none: 192.0.0.8, and the node-identification extension that tells the IPv6 source.
    pub rfc6791v4: Option<Ipv4Net>,
    /// Source addresses for ICMPv4 errors whose source can't be translated.
    pub rfc6791v6: Option<Ipv6Net>,
    /// `lowest-ipv6-mtu` (RFC 7915 §4): an IPv4 packet without DF is fragmented so that no IPv6 packet
    /// is larger, in bytes; 1280 or more.
    pub lowest_ipv6_mtu: u16,
    /// MTU of the IPv4 side, in bytes.
    pub mtu4: u16,
    /// MTU of the IPv6 side, in bytes.
    pub mtu6: u16,
    /// What becomes of an IPv4 UDP datagram without checksum.
    pub udp_zero_checksum: UdpZeroChecksum,
    /// What becomes of a packet from one mapped IPv6 host to the IPv4 address of another (RFC 7757 §4).
    pub hairpin: Hairpin,
    /// Path MTUs to choose from where an ICMPv4 error names none (RFC 1191 §7), in bytes, descending.
    pub mtu_plateaus: Vec<u16>,
    /// DSCP and ECN of what comes out.
    pub traffic_class: TrafficClass,
    /// Whether an address of RFC 1918 and the like may stand in 64:ff9b::/96
    /// (draft-ietf-v6ops-nat64-wkp-1918; RFC 6052 §3.1 forbids it).
    pub private_through_well_known: bool,
}

/// Which addresses translate how.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Mode {
    /// Any address by `eam`, else by `pool6` (RFC 7915 §6, RFC 7757).
    #[default]
    Siit,
    /// The host's own addresses by `eam` alone, the others by `pool6` alone (RFC 6877 §6.3). So no packet
    /// leaves with an IPv6 source that is not the host's.
    Clat,
}

/// What becomes of an IPv4 UDP datagram without checksum (RFC 7915 §4.5).
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum UdpZeroChecksum {
    /// It is dropped, and counted.
    Drop,
    /// The checksum is computed; a fragment, whose datagram is not at hand, is dropped.
    #[default]
    Compute,
    /// It goes on without one (RFC 6935, RFC 6936).
    Pass,
}

/// What becomes of a packet from one mapped IPv6 host to the IPv4 address of another (RFC 7757 §4).
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Hairpin {
    /// It goes out to the IPv4 network like any other.
    None,
    /// The IPv4 network's router sends it back; then its source is put into `pool6` (RFC 7757 §4.2.1).
    Simple,
    /// The translator turns it around itself (RFC 7757 §4.2.2).
    #[default]
    Intrinsic,
}

/// DSCP and ECN of what comes out (RFC 7915 §4.1, §5.1).
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum TrafficClass {
    /// As in the packet that came in, all eight bits.
    #[default]
    Copy,
    /// Always this.
    Fixed(u8),
}

impl Default for Config {
    fn default() -> Self {
        Self {
            mode: Mode::default(),
            pool6: Vec::new(),
            eam: eam::Table::default(),
            own4: None,
            own6: None,
            rfc6791v4: None,
            rfc6791v6: None,
            lowest_ipv6_mtu: 1280,
            mtu4: 1500,
            mtu6: 1500,
            udp_zero_checksum: UdpZeroChecksum::default(),
            hairpin: Hairpin::default(),
            mtu_plateaus: alloc::vec![65535, 32000, 17914, 8166, 4352, 2002, 1492, 1006, 508, 296, 68],
            traffic_class: TrafficClass::default(),
            private_through_well_known: true,
        }
    }
}
