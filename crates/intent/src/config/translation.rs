use straddle_xlat::{TrafficClass, UdpZeroChecksum};

use super::Spanned;
use super::section::{Reader, Section};
use super::value;
use crate::model::FastChoice;

/// What every recipe with a translator lets one choose; the translator's default where it is left out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Translation {
    /// `lowest-ipv6-mtu` (RFC 7915 §4), in bytes.
    pub lowest_ipv6_mtu: Option<Spanned<u32>>,
    /// What becomes of an IPv4 UDP datagram without checksum.
    pub udp_zero_checksum: Option<Spanned<UdpZeroChecksum>>,
    /// Path MTUs to choose from where an ICMPv4 error names none, in bytes.
    pub mtu_plateaus: Vec<Spanned<u32>>,
    /// DSCP and ECN of what comes out.
    pub traffic_class: Option<Spanned<TrafficClass>>,
    /// Whether the kernel translates plain packets.
    pub fast_path: Option<Spanned<FastChoice>>,
}

const ZERO_CHECKSUM: &[(&str, UdpZeroChecksum)] = &[
    ("drop", UdpZeroChecksum::Drop),
    ("compute", UdpZeroChecksum::Compute),
    ("pass", UdpZeroChecksum::Pass),
];

pub(super) fn read(reader: &mut Reader, section: &Section<'_>) -> Translation {
    let class = section.number_or_word(reader, "traffic-class", 0..=255, "copy").map(|class| {
        let fixed = class.value.and_then(|number| u8::try_from(number).ok());
        Spanned { value: fixed.map_or(TrafficClass::Copy, TrafficClass::Fixed), span: class.span }
    });
    Translation {
        lowest_ipv6_mtu: section.number(reader, "lowest-ipv6-mtu", 1280..=65535),
        udp_zero_checksum: section.choice(reader, "udp-zero-checksum", ZERO_CHECKSUM),
        mtu_plateaus: section.numbers(reader, "mtu-plateaus", 68..=65535),
        traffic_class: class,
        fast_path: section.choice(reader, "fast-path", value::FAST_PATH),
    }
}
