use straddle_xlat::{Config, TrafficClass, UdpZeroChecksum};

use crate::config::{self, Spanned};

/// Whether the kernel translates or carries plain packets (the fast path).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FastChoice {
    /// Where this kernel can.
    #[default]
    Auto,
    /// It does not.
    Off,
    /// It must.
    Require,
}

/// What every recipe with a translator has in common.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Translation {
    /// `lowest-ipv6-mtu` (RFC 7915 §4), in bytes.
    pub lowest_ipv6_mtu: u16,
    /// What becomes of an IPv4 UDP datagram without checksum.
    pub udp_zero_checksum: UdpZeroChecksum,
    /// Path MTUs to choose from where an ICMPv4 error names none, in bytes, descending.
    pub mtu_plateaus: Vec<u16>,
    /// DSCP and ECN of what comes out.
    pub traffic_class: TrafficClass,
    /// Whether the kernel translates plain packets, and where the file says so.
    pub fast_path: Option<Spanned<FastChoice>>,
}

impl Translation {
    pub(super) fn from_config(written: &config::Translation) -> Self {
        let default = Config::default();
        let mut plateaus: Vec<u16> =
            written.mtu_plateaus.iter().filter_map(|plateau| narrow(plateau.value)).collect();
        plateaus.sort_unstable_by(|a, b| b.cmp(a));
        plateaus.dedup();
        let lowest = written.lowest_ipv6_mtu.as_ref().and_then(|lowest| narrow(lowest.value));
        Self {
            lowest_ipv6_mtu: lowest.unwrap_or(default.lowest_ipv6_mtu),
            udp_zero_checksum: written
                .udp_zero_checksum
                .as_ref()
                .map_or(default.udp_zero_checksum, |policy| policy.value),
            mtu_plateaus: if plateaus.is_empty() { default.mtu_plateaus } else { plateaus },
            traffic_class: written.traffic_class.as_ref().map_or(default.traffic_class, |class| class.value),
            fast_path: written.fast_path.clone(),
        }
    }

    /// What the file says of the fast path.
    pub(crate) fn fast(&self) -> FastChoice {
        self.fast_path.as_ref().map_or(FastChoice::Auto, |choice| choice.value)
    }

    /// A translator with these, the rest being the default.
    pub(super) fn config(&self) -> Config {
        Config {
            lowest_ipv6_mtu: self.lowest_ipv6_mtu,
            udp_zero_checksum: self.udp_zero_checksum,
            mtu_plateaus: self.mtu_plateaus.clone(),
            traffic_class: self.traffic_class,
            ..Config::default()
        }
    }
}

/// An MTU: the file has none above 65535.
pub(super) fn narrow(mtu: u32) -> Option<u16> {
    u16::try_from(mtu).ok()
}
