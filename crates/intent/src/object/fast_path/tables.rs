//! What a translator is told, in the form of `bpf/config.h` and `bpf/tables.h`: numbers as this machine writes them.

use std::cmp::Reverse;
use std::net::{Ipv4Addr, Ipv6Addr};

use straddle_xlat::eam::{Mapping, Table};
use straddle_xlat::rfc6052::Prefix;
use straddle_xlat::{Config, Hairpin, Mode, TrafficClass};

use super::bytes::{Bytes, LENGTHS6, key6, lengths};

/// What the program of the fast path is told.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Tables {
    /// `struct config`.
    pub constants: Vec<u8>,
    /// `struct entry4` of each mapping: its key, and the rest.
    pub eam4: Vec<([u8; 8], [u8; 24])>,
    /// `struct entry6` of each mapping: its key, and the rest.
    pub eam6: Vec<([u8; 24], [u8; 8])>,
}

/// The longest ones; what only a shorter one has goes the slow path.
const PREFIXES: usize = 8;
/// So many mappings are compared one by one.
const HANDFUL: usize = 4;
/// Room for each length that can occur, and to a multiple of 4 bytes: of IPv4, of IPv6.
const ROOM4: usize = 36;
const ROOM6: usize = LENGTHS6.next_multiple_of(4);
/// A traffic class that is copied.
const COPY: u32 = 256;
/// No IPv6 path is narrower, in bytes (RFC 8200 §5).
const MIN_MTU6: u16 = 1280;

impl Tables {
    /// What makes a program translate as the core does by this.
    #[must_use]
    pub fn new(config: &Config) -> Tables {
        let mappings = config.eam.mappings();
        let tabled = if mappings.len() <= HANDFUL { &[] } else { mappings };
        Tables {
            constants: constants(config),
            eam4: tabled.iter().map(entry4).collect(),
            eam6: tabled.iter().map(entry6).collect(),
        }
    }

    /// What leaves out no part of the program.
    #[must_use]
    pub fn example() -> Tables {
        let pool6 = [Prefix::WELL_KNOWN].into();
        let mut config = Config { pool6, private_through_well_known: false, ..Config::default() };
        let host = |number: u8| Mapping {
            v6: Ipv6Addr::from_bits(0x2001_0db8 << 96 | u128::from(number)).into(),
            v4: Ipv4Addr::new(192, 0, 2, number).into(),
        };
        let mappings: Vec<Mapping> = (1..=HANDFUL as u8 + 1).map(host).collect();
        config.eam = Table::new(&mappings).unwrap_or_default();
        Tables::new(&config)
    }
}

impl Bytes {
    /// `struct prefix`.
    fn prefix(&mut self, prefix: Option<&Prefix>, private_through_well_known: bool) {
        let net = prefix.map(|prefix| prefix.net()).unwrap_or_default();
        self.address(net.network().to_bits());
        self.address(net.netmask().to_bits());
        self.word(net.prefix_len().into());
        self.word((prefix == Some(&Prefix::WELL_KNOWN) && !private_through_well_known).into());
    }

    /// `struct mapping`.
    fn mapping(&mut self, mapping: Option<&&Mapping>) {
        let Some(Mapping { v6, v4 }) = mapping else {
            return self.0.extend([0; 48]);
        };
        self.address(v6.network().to_bits());
        self.address(v6.netmask().to_bits());
        self.word(v4.network().to_bits());
        self.word(v4.netmask().to_bits());
        self.word(padding(&Mapping { v6: *v6, v4: *v4 }));
        self.word(0);
    }
}

/// `struct config`, member by member.
fn constants(config: &Config) -> Vec<u8> {
    let mut bytes = Bytes::default();
    let siit = config.mode == Mode::Siit;
    let wide = config.mtu6.max(MIN_MTU6);
    let class = match config.traffic_class {
        TrafficClass::Copy => COPY,
        TrafficClass::Fixed(class) => class.into(),
    };
    bytes.address(config.own6.map_or(0, |own| own.to_bits()));
    for number in [
        config.own4.map_or(0, |own| own.to_bits()),
        config.own4.is_some().into(),
        config.own6.is_some().into(),
        (!siit).into(),
        (siit && config.hairpin == Hairpin::Simple && !config.pool6.is_empty()).into(),
        (siit && config.hairpin == Hairpin::Intrinsic).into(),
        config.mtu4.into(),
        wide.into(),
        wide.min(config.lowest_ipv6_mtu).into(),
        class,
        prefixes_first(config).into(),
    ] {
        bytes.word(number);
    }
    lists(&mut bytes, config);
    bytes.0
}

/// The rest of it: how long each list is, and the lists.
fn lists(bytes: &mut Bytes, config: &Config) {
    let mut few: Vec<&Mapping> = config.eam.mappings().iter().collect();
    let tabled = if few.len() <= HANDFUL { Vec::new() } else { std::mem::take(&mut few) };
    let length4 = lengths::<ROOM4>(tabled.iter().map(|mapping| mapping.v4.prefix_len()));
    let length6 = lengths::<ROOM6>(tabled.iter().map(|mapping| mapping.v6.prefix_len()));
    let mut pool6: Vec<&Prefix> = config.pool6.iter().collect();
    pool6.sort_by_key(|prefix| Reverse(prefix.net().prefix_len()));
    for count in [few.len(), pool6.len().min(PREFIXES), length4.0, length6.0] {
        bytes.word(count as u32);
    }
    // What follows begins at a multiple of 8.
    bytes.word(0);
    let private = config.private_through_well_known;
    bytes.prefix(config.pool6.first(), private);
    for at in 0..PREFIXES {
        bytes.prefix(pool6.get(at).copied(), private);
    }
    few.sort_by_key(|mapping| Reverse(mapping.v4.prefix_len()));
    (0..HANDFUL).for_each(|at| bytes.mapping(few.get(at)));
    few.sort_by_key(|mapping| Reverse(mapping.v6.prefix_len()));
    (0..HANDFUL).for_each(|at| bytes.mapping(few.get(at)));
    bytes.0.extend(length4.1);
    bytes.0.extend(length6.1);
}

/// Whether no mapping touches a prefix.
fn prefixes_first(config: &Config) -> bool {
    let nets = || config.pool6.iter().map(|prefix| prefix.net());
    config.eam.mappings().iter().all(|mapping| {
        let apart = |net: ipnet::Ipv6Net| !net.contains(&mapping.v6) && !mapping.v6.contains(&net);
        nets().all(apart)
    })
}

/// By how many bits the IPv6 suffix is longer.
fn padding(mapping: &Mapping) -> u32 {
    (96 + u32::from(mapping.v4.prefix_len())).saturating_sub(mapping.v6.prefix_len().into())
}

fn entry4(mapping: &Mapping) -> ([u8; 8], [u8; 24]) {
    let (mut key, mut value) = (Bytes::default(), Bytes::default());
    key.word(mapping.v4.network().to_bits());
    key.word(mapping.v4.prefix_len().into());
    value.address(mapping.v6.network().to_bits());
    value.long(padding(mapping).into());
    (key.array(), value.array())
}

fn entry6(mapping: &Mapping) -> ([u8; 24], [u8; 8]) {
    let mut value = Bytes::default();
    value.word(mapping.v4.network().to_bits());
    value.word(padding(mapping));
    (key6(&mapping.v6), value.array())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(pairs: &[(&str, &str)]) -> Config {
        let one = |(v6, v4): &(&str, &str)| Mapping { v6: v6.parse().unwrap(), v4: v4.parse().unwrap() };
        let mappings: Vec<Mapping> = pairs.iter().map(one).collect();
        let eam = Table::new(&mappings).unwrap();
        Config { eam, pool6: vec![Prefix::WELL_KNOWN], ..Config::default() }
    }

    #[test]
    fn entries_are_as_long_as_the_program_has_them() {
        let pool = 2 * 16 + 2 * 4;
        let length = 16 + 16 * 4 + pool * (1 + PREFIXES) + 48 * 2 * HANDFUL + ROOM4 + ROOM6;
        assert_eq!(constants(&table(&[("2001:db8::1/128", "192.0.2.1/32")])).len(), length);
        let (key, value) = entry4(&table(&[("2001:db8::/120", "192.0.2.0/24")]).eam.mappings()[0]);
        assert_eq!((key[4], value[16]), (24, 0));
        let (key, value) = entry6(&table(&[("2001:db8::/96", "192.0.2.0/24")]).eam.mappings()[0]);
        assert_eq!((key[16], value[4]), (96, 24));
    }

    #[test]
    fn prefixes_go_first_where_no_mapping_touches_them() {
        let check = |v6: &str, v4: &str, expected: bool| {
            assert_eq!(prefixes_first(&table(&[(v6, v4)])), expected, "{v6}");
        };
        check("2001:db8::/120", "192.0.2.0/24", true);
        check("64:ff9b::/120", "192.0.2.0/24", false);
        check("::/0", "192.0.2.1/32", false);
    }

    #[test]
    fn the_example_has_all_parts() {
        let tables = Tables::example();
        assert_eq!((tables.eam4.len(), tables.eam6.len()), (HANDFUL + 1, HANDFUL + 1));
    }
}
