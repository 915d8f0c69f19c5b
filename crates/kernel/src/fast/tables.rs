//! What a translator is told, in the form of `bpf/config.h` and `bpf/tables.h`.

use std::collections::BTreeSet;

use aya::Pod;
use straddle_xlat::eam::Mapping;
use straddle_xlat::rfc6052::Prefix;
use straddle_xlat::{Config, Hairpin, Mode, TrafficClass};

/// The longest ones; what only a shorter one has goes the slow path.
const PREFIXES: usize = 8;
const LENGTHS4: usize = 36;
const LENGTHS6: usize = 132;
/// A traffic class that is copied.
const COPY: u32 = 256;
/// No IPv6 path is narrower, in bytes (RFC 8200 §5).
const MIN_MTU6: u16 = 1280;

/// `struct address6`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Address6 {
    upper: u64,
    lower: u64,
}

/// `struct prefix`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
struct Pool {
    net: Address6,
    mask: Address6,
    length: u32,
    public_only: u32,
}

/// `struct config`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub(super) struct Constants {
    own6: Address6,
    seed: u64,
    own4: u32,
    has_own4: u32,
    has_own6: u32,
    clat: u32,
    simple_hairpin: u32,
    intrinsic_hairpin: u32,
    limit4: u32,
    limit6: u32,
    limit6_fragmentable: u32,
    class: u32,
    before: u32,
    prefixes: u32,
    lengths4: u32,
    lengths6: u32,
    first: Pool,
    pool6: [Pool; PREFIXES],
    length4: [u8; LENGTHS4],
    length6: [u8; LENGTHS6],
}

/// `struct key4`, `struct value4`, `struct key6`, `struct value6`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub(super) struct Key4 {
    net: u32,
    length: u32,
}
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub(super) struct Value4 {
    net: Address6,
    padding: u64,
}
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub(super) struct Key6 {
    net: Address6,
    length: u64,
}
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub(super) struct Value6 {
    net: u32,
    padding: u32,
}

// SAFETY: C structures of integers alone, without a gap between or behind them (the tests add up their sizes).
unsafe impl Pod for Constants {}
// SAFETY: as above.
unsafe impl Pod for Key4 {}
// SAFETY: as above.
unsafe impl Pod for Value4 {}
// SAFETY: as above.
unsafe impl Pod for Key6 {}
// SAFETY: as above.
unsafe impl Pod for Value6 {}

impl From<u128> for Address6 {
    fn from(bits: u128) -> Self {
        Self { upper: (bits >> 64) as u64, lower: bits as u64 }
    }
}

impl Constants {
    /// `before`: how many bytes stand before the IP header.
    pub(super) fn new(config: &Config, seed: u64, before: u32) -> Self {
        let siit = config.mode == Mode::Siit;
        let pool = |prefix: &Prefix| pool(*prefix, config.private_through_well_known);
        let mut sorted = config.pool6.clone();
        sorted.sort_by_key(|prefix| std::cmp::Reverse(prefix.net().prefix_len()));
        let mappings = || config.eam.mappings().iter();
        let (lengths4, length4) = lengths(mappings().map(|mapping| mapping.v4.prefix_len()));
        let (lengths6, length6) = lengths(mappings().map(|mapping| mapping.v6.prefix_len()));
        let wide = config.mtu6.max(MIN_MTU6);
        Self {
            own6: config.own6.map_or(0, |own| own.to_bits()).into(),
            seed,
            own4: config.own4.map_or(0, |own| own.to_bits()),
            has_own4: config.own4.is_some().into(),
            has_own6: config.own6.is_some().into(),
            clat: (!siit).into(),
            simple_hairpin: (siit && config.hairpin == Hairpin::Simple && !config.pool6.is_empty()).into(),
            intrinsic_hairpin: (siit && config.hairpin == Hairpin::Intrinsic).into(),
            limit4: config.mtu4.into(),
            limit6: wide.into(),
            limit6_fragmentable: wide.min(config.lowest_ipv6_mtu).into(),
            class: match config.traffic_class {
                TrafficClass::Copy => COPY,
                TrafficClass::Fixed(class) => class.into(),
            },
            before,
            prefixes: config.pool6.len().min(PREFIXES) as u32,
            lengths4,
            lengths6,
            first: config.pool6.first().map(pool).unwrap_or_default(),
            pool6: std::array::from_fn(|at| sorted.get(at).map(pool).unwrap_or_default()),
            length4,
            length6,
        }
    }
}

fn pool(prefix: Prefix, private_through_well_known: bool) -> Pool {
    let net = prefix.net();
    Pool {
        net: net.network().to_bits().into(),
        mask: net.netmask().to_bits().into(),
        length: net.prefix_len().into(),
        public_only: (prefix == Prefix::WELL_KNOWN && !private_through_well_known).into(),
    }
}

/// How many lengths occur, and which, the longest first.
fn lengths<const N: usize>(all: impl Iterator<Item = u8>) -> (u32, [u8; N]) {
    let set: BTreeSet<u8> = all.collect();
    let mut descending = set.iter().rev().copied();
    (set.len() as u32, std::array::from_fn(|_| descending.next().unwrap_or_default()))
}

/// A mapping as the two tables have it.
pub(super) fn entries(mapping: &Mapping) -> ((Key4, Value4), (Key6, Value6)) {
    let Mapping { v6, v4 } = mapping;
    let padding = (96 + u32::from(v4.prefix_len())).saturating_sub(v6.prefix_len().into());
    let (net4, net6) = (v4.network().to_bits(), Address6::from(v6.network().to_bits()));
    let by4 =
        (Key4 { net: net4, length: v4.prefix_len().into() }, Value4 { net: net6, padding: padding.into() });
    let by6 = (Key6 { net: net6, length: v6.prefix_len().into() }, Value6 { net: net4, padding });
    (by4, by6)
}

/// A configuration in which no part of the program is left out.
pub(super) fn example() -> Config {
    let nets = ["64:ff9b::/96", "2001:db8::/32"].map(str::parse);
    let pool6 = nets.into_iter().flatten().filter_map(|net| Prefix::new(net).ok()).collect();
    let mapping = "2001:db8:1::/120".parse().ok().zip("192.0.2.0/24".parse().ok());
    let mapping = mapping.map(|(v6, v4)| Mapping { v6, v4 });
    let eam = mapping.and_then(|mapping| straddle_xlat::eam::Table::new(&[mapping]).ok());
    Config { pool6, eam: eam.unwrap_or_default(), private_through_well_known: false, ..Config::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn structures_have_no_gaps() {
        let pool = 2 * 16 + 2 * 4;
        assert_eq!(size_of::<Pool>(), pool);
        assert_eq!(size_of::<Constants>(), 16 + 8 + 14 * 4 + pool * (1 + PREFIXES) + LENGTHS4 + LENGTHS6);
        assert_eq!((size_of::<Key4>(), size_of::<Value4>()), (8, 24));
        assert_eq!((size_of::<Key6>(), size_of::<Value6>()), (24, 8));
    }

    #[test]
    fn lengths_that_occur_stand_in_order() {
        let check = |all: &[u8], count: u32, expected: [u8; 4]| {
            assert_eq!(lengths(all.iter().copied()), (count, expected));
        };
        check(&[], 0, [0; 4]);
        check(&[24, 32, 0, 24], 3, [32, 24, 0, 0]);
    }

    #[test]
    fn the_example_has_all_parts() {
        let constants = Constants::new(&example(), 0, 0);
        assert_eq!((constants.prefixes, constants.lengths4, constants.lengths6), (2, 1, 1));
        assert_eq!((constants.intrinsic_hairpin, constants.first.public_only), (1, 1));
    }
}
