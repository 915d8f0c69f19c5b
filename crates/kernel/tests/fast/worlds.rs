//! Translators that differ in all that matters to the program, and packets for them.

use std::net::{Ipv4Addr, Ipv6Addr};

use straddle_xlat::eam::{Mapping, Table};
use straddle_xlat::rfc6052::Prefix;
use straddle_xlat::{Config, Hairpin, Mode, TrafficClass, Translator};

/// SplitMix64.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let number = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let number = (number ^ number >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        number ^ number >> 31
    }

    pub(crate) fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit.max(1) as u64) as usize
    }

    pub(crate) fn one_in(&mut self, count: usize) -> bool {
        self.below(count) == 0
    }

    fn of<T: Copy>(&mut self, list: &[T]) -> T {
        list[self.below(list.len())]
    }
}

/// A translator, and addresses that mean something to it.
pub(crate) struct World {
    pub(crate) config: Config,
    four: Vec<Ipv4Addr>,
    six: Vec<Ipv6Addr>,
}

pub(crate) struct Made {
    pub(crate) bytes: Vec<u8>,
    /// What it is at bottom.
    pub(crate) class: &'static str,
    /// What makes it special.
    pub(crate) changed: Option<&'static str>,
}

fn prefixes(nets: &[&str]) -> Vec<Prefix> {
    nets.iter().map(|net| Prefix::new(net.parse().unwrap()).unwrap()).collect()
}

fn table(pairs: &[(&str, &str)]) -> Table {
    let mapping = |(v6, v4): &(&str, &str)| Mapping { v6: v6.parse().unwrap(), v4: v4.parse().unwrap() };
    Table::new(&pairs.iter().map(mapping).collect::<Vec<_>>()).unwrap()
}

const LENGTHS: [&str; 6] = [
    "2001:db8::/32",
    "2001:db9:100::/40",
    "2001:dba:102::/48",
    "2001:dbb:102:300::/56",
    "2001:dbc:102:304::/64",
    "2001:dbd:102:304:0:506::/96",
];
/// Nested, of unequal suffixes, up to whole addresses.
const NESTED: &[(&str, &str)] = &[
    ("2001:db8:aaaa::/128", "192.0.2.1/32"),
    ("2001:db8:cccc::/124", "192.0.2.16/28"),
    ("2001:db8:dddd::/64", "192.0.2.128/26"),
    ("2001:db8:eeee:8::/62", "192.0.2.192/29"),
    ("2001:db8:3::/120", "203.0.113.0/24"),
    ("2001:db8:3::80/121", "198.51.0.0/25"),
    ("2001:db8:4::/48", "198.18.0.0/15"),
    ("2001:db8:4:5::7/128", "198.18.5.7/32"),
];

pub(crate) fn worlds() -> Vec<World> {
    let base = Config::default;
    let well_known = || prefixes(&["64:ff9b::/96"]);
    let own = |v6: &str, v4: &str| table(&[(v6, v4)]);
    let mut configs = vec![
        Config { pool6: well_known(), eam: table(NESTED), ..base() },
        Config { pool6: prefixes(&LENGTHS), ..base() },
        Config { pool6: prefixes(&LENGTHS), eam: table(NESTED), hairpin: Hairpin::Simple, ..base() },
        Config { eam: table(NESTED), hairpin: Hairpin::None, mtu6: 1280, mtu4: 1260, ..base() },
        Config { pool6: well_known(), eam: table(NESTED.get(4..).unwrap()), ..base() },
        Config { pool6: well_known(), eam: table(&[("64:ff9b::c000:200/124", "198.51.100.0/28")]), ..base() },
        Config { eam: table(&[("::/0", "8.8.8.8/32"), ("2001:db8::/32", "0.0.0.0/0")]), ..base() },
        Config { pool6: well_known(), private_through_well_known: false, eam: table(NESTED), ..base() },
        Config {
            mode: Mode::Clat,
            pool6: prefixes(&["64:ff9b::/96", "2001:db8:64::/56"]),
            eam: own("2001:db8:c::464/128", "192.0.0.2/32"),
            traffic_class: TrafficClass::Fixed(0xb8),
            ..base()
        },
        Config { mode: Mode::Clat, eam: own("2001:db8:c::464/128", "192.0.0.2/32"), ..base() },
        Config {
            pool6: well_known(),
            eam: table(NESTED),
            own4: Some(Ipv4Addr::new(192, 0, 2, 17)),
            own6: Some("2001:db8:cccc::3".parse().unwrap()),
            lowest_ipv6_mtu: 1500,
            mtu6: 9000,
            mtu4: 9000,
            ..base()
        },
    ];
    configs.extend(LENGTHS.map(|net| Config { pool6: prefixes(&[net]), ..base() }));
    configs.into_iter().map(World::new).collect()
}

/// A translator with this many mappings, scattered.
pub(crate) fn mapped(count: u32) -> World {
    let v6 = u128::from_str_radix("20010db8000000000000000000000000", 16).unwrap();
    let mapping = |number: u32| Mapping {
        v4: Ipv4Addr::from_bits(0x0b00_0000 | number.wrapping_mul(0x9e37_79b1) & 0xff_ffff).into(),
        v6: Ipv6Addr::from_bits(v6 | u128::from(number) << 8).into(),
    };
    let mut list: Vec<Mapping> = (0..count).map(mapping).collect();
    list.sort_by_key(|mapping| mapping.v4);
    list.dedup_by_key(|mapping| mapping.v4);
    World::new(Config {
        pool6: prefixes(&["64:ff9b::/96"]),
        eam: Table::new(&list).unwrap(),
        ..Config::default()
    })
}

/// A translator with this many mappings, of all lengths from 24 and 64 bits on, some within others.
pub(crate) fn mixed(count: u32) -> World {
    let mapping = |number: u32| {
        let v6 =
            0x2001_0db8_0001 << 80 | u128::from(number.wrapping_mul(0x9e37_79b1)) << 48 | u128::from(number);
        let v4 = 0x0b00_0000 | number.wrapping_mul(0x85eb_ca6b) & 0xff_ffff;
        let (short, long) = (24 + number % 9, 64 + number % 57);
        // No IPv6 suffix is shorter than the IPv4 one.
        let long = if short == 32 { long + 8 } else { long.min(96 + short) };
        Mapping {
            v4: ipnet::Ipv4Net::new(Ipv4Addr::from_bits(v4), short as u8).unwrap().trunc(),
            v6: ipnet::Ipv6Net::new(Ipv6Addr::from_bits(v6), long as u8).unwrap().trunc(),
        }
    };
    let mut list: Vec<Mapping> = (0..count).map(mapping).collect();
    list.sort_by_key(|mapping| mapping.v4);
    list.dedup_by_key(|mapping| mapping.v4);
    list.sort_by_key(|mapping| mapping.v6);
    list.dedup_by_key(|mapping| mapping.v6);
    let pool6 = prefixes(&["64:ff9b::/96"]);
    World::new(Config { pool6, eam: Table::new(&list).unwrap(), ..Config::default() })
}

/// Small datagrams, to any host of a mapping's and from it.
pub(crate) fn both_ways(world: &World, mapping: &Mapping, random: &mut Random) -> [Vec<u8>; 2] {
    let host4 = mapping.v4.network().to_bits() | random.next() as u32 & mapping.v4.hostmask().to_bits();
    let any = u128::from(random.next()) << 64 | u128::from(random.next());
    let host6 = mapping.v6.network().to_bits() | any & mapping.v6.hostmask().to_bits();
    let (host4, host6) = (Ipv4Addr::from_bits(host4), Ipv6Addr::from_bits(host6));
    let (far4, far6) = (Ipv4Addr::new(8, 8, 8, 8), world.config.pool6[0].embed(Ipv4Addr::new(8, 8, 8, 8)));
    let to = transport(UDP, 40, random, &far4.octets(), &host4.octets());
    let from = transport(UDP, 40, random, &host6.octets(), &far6.octets());
    [packet4(far4, host4, UDP, &to, 64), packet6(host6, far6, UDP, &from, 64)]
}

/// A small IPv4 datagram to a mapped address, from a host of this number.
pub(crate) fn towards_a_mapping(world: &World, from: u32, random: &mut Random) -> Vec<u8> {
    let list = world.config.eam.mappings();
    let to = list[random.below(list.len())].v4.addr();
    let from = Ipv4Addr::from_bits(0x0800_0000 | from & 0xff_ffff);
    let payload = transport(UDP, 64, random, &from.octets(), &to.octets());
    packet4(from, to, UDP, &payload, 64)
}

/// A small IPv6 datagram that is translated.
pub(crate) fn plain6(world: &World) -> Vec<u8> {
    let translator = Translator::new(world.config.clone());
    let mut random = Random(3);
    loop {
        let (source, destination) = (random.of(&world.six), random.of(&world.six));
        let payload = transport(UDP, 40, &mut random, &source.octets(), &destination.octets());
        let bytes = packet6(source, destination, UDP, &payload, 64);
        let mut state = straddle_xlat::State::new(0);
        let mut sides = Vec::new();
        let offload = Default::default();
        translator.translate(&mut state, 0, &offload, &bytes, &mut |out| sides.push(out.side));
        if sides == [straddle_wire::ip::Version::V4] {
            return bytes;
        }
    }
}

impl World {
    fn new(config: Config) -> World {
        let mut four: Vec<Ipv4Addr> = [
            "8.8.8.8",
            "100.64.1.2",
            "10.1.2.3",
            "192.168.7.7",
            "198.51.100.9",
            "1.0.0.0",
            "223.255.255.255",
        ]
        .map(|text| text.parse().unwrap())
        .into();
        let mut six: Vec<Ipv6Addr> =
            ["2001:db8:c::464", "2620:fe::fe", "fc00::1"].map(|text| text.parse().unwrap()).into();
        for mapping in config.eam.mappings().iter().take(50) {
            let (net4, net6) = (mapping.v4, mapping.v6);
            four.extend([net4.network(), net4.broadcast()]);
            six.extend([net6.network(), net6.broadcast()]);
            six.extend(four.iter().filter_map(|address| config.eam.to6(*address)).take(4));
        }
        for pool in &config.pool6 {
            six.extend(four.iter().map(|address| pool.embed(*address)));
        }
        World { config, four, six }
    }

    /// Addresses that mean something to somebody else than a translator.
    pub(crate) fn of(six: Vec<Ipv6Addr>) -> World {
        World { six, ..World::new(Config::default()) }
    }

    /// Mostly one that means something; else anything, or something near.
    fn four(&self, random: &mut Random) -> Ipv4Addr {
        match random.below(12) {
            0 => Ipv4Addr::from_bits(random.next() as u32),
            1 => Ipv4Addr::from_bits(random.of(&self.four).to_bits() ^ 1 << random.below(32)),
            2 if random.one_in(4) => random.of(&SPECIAL4),
            _ => random.of(&self.four),
        }
    }

    fn six(&self, random: &mut Random) -> Ipv6Addr {
        match random.below(12) {
            0 => Ipv6Addr::from_bits(u128::from(random.next()) << 64 | u128::from(random.next())),
            1 => Ipv6Addr::from_bits(random.of(&self.six).to_bits() ^ 1 << random.below(128)),
            2 if random.one_in(4) => random.of(&SPECIAL6),
            _ => random.of(&self.six),
        }
    }
}

const SPECIAL4: [Ipv4Addr; 6] = [
    Ipv4Addr::UNSPECIFIED,
    Ipv4Addr::LOCALHOST,
    Ipv4Addr::BROADCAST,
    Ipv4Addr::new(224, 0, 0, 1),
    Ipv4Addr::new(169, 254, 3, 4),
    Ipv4Addr::new(240, 0, 0, 1),
];
const SPECIAL6: [Ipv6Addr; 5] = [
    Ipv6Addr::UNSPECIFIED,
    Ipv6Addr::LOCALHOST,
    Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1),
    Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1),
    Ipv6Addr::new(0, 0, 0, 0, 0, 0xffff, 0xc000, 0x0201),
];

const TCP: u8 = 6;
const UDP: u8 = 17;

/// A packet of either version.
pub(crate) fn packet(world: &World, random: &mut Random) -> Made {
    let six = random.one_in(2);
    let icmp = if six { 58 } else { 1 };
    let protocols = [TCP, TCP, UDP, UDP, icmp, 47, 50, 132];
    let mut protocol = random.of(&protocols);
    let mut changed = None;
    if random.one_in(20) {
        protocol = random.next() as u8;
        if !protocols.contains(&protocol) {
            changed = Some("any protocol");
        }
    }
    let class = match protocol {
        TCP => "TCP",
        UDP => "UDP",
        1 | 58 => "echo",
        _ => "other transport",
    };
    // Whole small ones, and around the sizes that matter.
    let length = match random.below(4) {
        0 => random.below(60),
        1 => 1180 + random.below(120),
        2 => 1400 + random.below(120),
        _ => random.below(2000),
    };
    let ttl = if random.one_in(30) { random.below(3) as u8 } else { random.next() as u8 };
    let mut bytes = if six {
        let (source, destination) = (world.six(random), world.six(random));
        let payload = transport(protocol, length, random, &source.octets(), &destination.octets());
        packet6(source, destination, protocol, &payload, ttl)
    } else {
        let (source, destination) = (world.four(random), world.four(random));
        let payload = transport(protocol, length, random, &source.octets(), &destination.octets());
        packet4(source, destination, protocol, &payload, ttl)
    };
    let class_byte = random.next() as u8;
    if six {
        bytes[0] = 0x60 | class_byte >> 4;
        bytes[1] = class_byte << 4 | random.next() as u8 & 0xf;
    } else {
        bytes[1] = class_byte;
        bytes[6] = random.of(&[0x40, 0x40, 0x40, 0]);
        seal(&mut bytes);
    }
    if ttl < 2 {
        changed = Some("hops");
    }
    if random.one_in(4) {
        changed = Some(change(&mut bytes, six, random));
    }
    Made { bytes, class, changed }
}

/// Something special is made of it.
fn change(bytes: &mut Vec<u8>, six: bool, random: &mut Random) -> &'static str {
    match random.below(8) {
        0 if !six => {
            bytes[6] = random.of(&[0x20, 0x60, 0x1f, 0x00, 0x80]);
            bytes[7] = random.next() as u8;
            seal(bytes);
            "fragment"
        }
        0 => {
            let next = std::mem::replace(&mut bytes[6], 44);
            let fragment = [next, 0, random.of(&[0, 5]), random.of(&[0, 1, 8]), 1, 2, 3, 4];
            bytes.splice(40..40, fragment);
            lengthen(bytes, true);
            "fragment"
        }
        1 if !six => {
            bytes.splice(20..20, [1, 1, 1, 0]);
            bytes[0] = 0x46;
            lengthen(bytes, false);
            "options"
        }
        1 => {
            let next = std::mem::replace(&mut bytes[6], random.of(&[0, 43, 60]));
            bytes.splice(40..40, [next, 0, 1, 4, 0, 0, 0, 0]);
            lengthen(bytes, true);
            "options"
        }
        2 => {
            let at = random.below(bytes.len());
            bytes[at] ^= 1 << random.below(8);
            if !six && at != 10 && at != 11 && random.one_in(2) && bytes[0] == 0x45 {
                seal(bytes);
            }
            "a bit turned"
        }
        3 => {
            let kept = random.below(bytes.len()).max(1);
            bytes.truncate(kept);
            if random.one_in(2) && kept >= 40 {
                lengthen(bytes, six);
            }
            "cut"
        }
        4 => {
            bytes.extend([0; 5]);
            "padded"
        }
        5 => {
            // The checksum's field of UDP, or whatever stands there.
            let at = if six { 46 } else { 26 };
            if let Some(field) = bytes.get_mut(at..at + 2) {
                field.fill(random.of(&[0, 0xff]));
            }
            "a checksum of zeros or ones"
        }
        6 => {
            let at = if six { 40 } else { 20 };
            if let Some(byte) = bytes.get_mut(at) {
                *byte = random.next() as u8;
            }
            "first byte of the transport"
        }
        _ => change_header(bytes, six, random),
    }
}

fn change_header(bytes: &mut [u8], six: bool, random: &mut Random) -> &'static str {
    let at = random.below(if six { 40 } else { 20 });
    if let Some(byte) = bytes.get_mut(at) {
        *byte = random.next() as u8;
    }
    if !six && bytes.first() == Some(&0x45) && bytes.len() >= 20 {
        seal(bytes);
    }
    "a byte of the header"
}

fn lengthen(bytes: &mut [u8], six: bool) {
    let length = bytes.len();
    if six {
        bytes[4..6].copy_from_slice(&((length - 40) as u16).to_be_bytes());
    } else {
        bytes[2..4].copy_from_slice(&(length as u16).to_be_bytes());
        seal(bytes);
    }
}

fn sum(bytes: &[u8]) -> u32 {
    bytes.chunks(2).map(|word| u32::from(word[0]) << 8 | u32::from(*word.get(1).unwrap_or(&0))).sum()
}

fn fold(mut sum: u32) -> u16 {
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}

fn seal(bytes: &mut [u8]) {
    let header = usize::from(bytes[0] & 0xf) * 4;
    bytes[10..12].fill(0);
    let checksum = !fold(sum(bytes.get(..header).unwrap_or(&[])));
    bytes[10..12].copy_from_slice(&checksum.to_be_bytes());
}

/// A transport with a right checksum.
fn transport(protocol: u8, length: usize, random: &mut Random, source: &[u8], destination: &[u8]) -> Vec<u8> {
    let (least, field) = match protocol {
        TCP => (20, Some(16)),
        UDP => (8, Some(6)),
        1 | 58 => (8, Some(2)),
        _ => (0, None),
    };
    let length = length.max(least);
    let mut bytes: Vec<u8> = (0..length).map(|_| 0).collect();
    bytes.iter_mut().for_each(|byte| *byte = random.next() as u8);
    match protocol {
        TCP => bytes[12] = 0x50,
        UDP => bytes[4..6].copy_from_slice(&(length as u16).to_be_bytes()),
        1 => bytes[..2].copy_from_slice(&[random.of(&[8, 0]), 0]),
        58 => bytes[..2].copy_from_slice(&[random.of(&[128, 129]), 0]),
        _ => {}
    }
    let Some(field) = field else { return bytes };
    bytes[field..field + 2].fill(0);
    let pseudo =
        if protocol == 1 { 0 } else { sum(source) + sum(destination) + u32::from(protocol) + length as u32 };
    let checksum = match !fold(pseudo + sum(&bytes)) {
        0 if protocol == UDP => 0xffff,
        checksum => checksum,
    };
    bytes[field..field + 2].copy_from_slice(&checksum.to_be_bytes());
    bytes
}

fn packet4(source: Ipv4Addr, destination: Ipv4Addr, protocol: u8, payload: &[u8], ttl: u8) -> Vec<u8> {
    let total = (20 + payload.len()) as u16;
    let mut bytes = vec![0x45, 0, (total >> 8) as u8, total as u8, 0x1c, 0x46, 0x40, 0, ttl, protocol, 0, 0];
    bytes.extend(source.octets());
    bytes.extend(destination.octets());
    bytes.extend(payload);
    seal(&mut bytes);
    bytes
}

fn packet6(source: Ipv6Addr, destination: Ipv6Addr, protocol: u8, payload: &[u8], hops: u8) -> Vec<u8> {
    let length = payload.len() as u16;
    let mut bytes = vec![0x60, 0, 0, 0, (length >> 8) as u8, length as u8, protocol, hops];
    bytes.extend(source.octets());
    bytes.extend(destination.octets());
    bytes.extend(payload);
    bytes
}
