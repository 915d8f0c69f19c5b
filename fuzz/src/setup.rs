//! A translator out of the first bytes of an input, and what it makes of the rest.

use straddle_wire::ip::Version;
use straddle_wire::vnet::{self, Header};
use straddle_xlat::{
    Config, Hairpin, Kind, Mode, State, TrafficClass, Translator, UdpZeroChecksum, Verdict, eam, rfc6052,
};

use crate::take;

/// One packet that came out.
#[derive(Debug)]
pub struct Sent {
    /// Where to.
    pub side: Version,
    /// Translated or our own.
    pub kind: Kind,
    /// For the tun device.
    pub offload: Header,
    /// In one piece.
    pub bytes: Vec<u8>,
}

/// All that one input came to.
#[derive(Debug)]
pub struct Outcome {
    /// Of the translator.
    pub config: Config,
    /// What the tun device said.
    pub offload: Header,
    /// As the translator saw it.
    pub packet: Vec<u8>,
    /// How it ended.
    pub verdict: Verdict,
    /// What came out.
    pub sent: Vec<Sent>,
}

/// Runs an input: choices, three MTUs, offload header, packet.
#[must_use]
pub fn run(input: &[u8]) -> Option<Outcome> {
    let (choices, rest) = take::<3>(input)?;
    let (mtus, rest) = take::<6>(rest)?;
    let (offload, packet) = take::<{ vnet::HEADER }>(rest)?;
    let offload = if choices[2] & 1 == 0 { Header::default() } else { Header::parse(&offload) };
    let config = config(choices, mtus);
    let mut packet = packet.to_vec();
    if choices[2] & 2 == 0 {
        repair(&mut packet);
    }
    let translator = Translator::new(config.clone());
    let (mut state, mut sent) = (State::new(choices[2].into()), Vec::new());
    let verdict = translator.translate(&mut state, 0, &offload, &packet, &mut |out| {
        let bytes = [out.head, out.payload].concat();
        assert_eq!(bytes.len(), out.len());
        assert!(out.head.len() <= straddle_xlat::Out::HEAD);
        sent.push(Sent { side: out.side, kind: out.kind, offload: out.offload, bytes });
    });
    Some(Outcome { config, offload, packet, verdict, sent })
}

fn config([a, b, _]: [u8; 3], mtus: [u8; 6]) -> Config {
    let [mtu4, mtu6, lowest] = [0, 2, 4].map(|at| u16::from_be_bytes([mtus[at], mtus[at + 1]]));
    let mapping = |v6: &str, v4: &str| eam::Mapping { v6: v6.parse().unwrap(), v4: v4.parse().unwrap() };
    let mappings = [
        mapping("2001:db8:c::/120", "192.0.2.0/24"),
        mapping("2001:db8:c::33/128", "192.0.2.33/32"),
        mapping("2001:db8:d::/64", "203.0.113.4/32"),
    ];
    let prefix = |net: &str| rfc6052::Prefix::new(net.parse().unwrap()).unwrap();
    let pool6 = match a & 3 {
        0 => vec![prefix("64:ff9b::/96")],
        1 => vec![prefix("2001:db8:64::/48"), prefix("64:ff9b::/96")],
        2 => vec![prefix("2001:db8:6400::/40"), prefix("2001:db8:64::/96")],
        _ => vec![],
    };
    Config {
        mode: if a & 4 == 0 { Mode::Siit } else { Mode::Clat },
        pool6,
        eam: if a & 8 == 0 { eam::Table::new(&mappings).unwrap() } else { eam::Table::default() },
        own4: (a & 16 == 0).then_some([192, 0, 2, 1].into()),
        own6: (a & 32 == 0).then_some("2001:db8:f::1".parse().unwrap()),
        rfc6791v4: (a & 64 != 0).then_some("198.51.100.128/25".parse().unwrap()),
        rfc6791v6: (a & 128 != 0).then_some("2001:db8:e::/100".parse().unwrap()),
        lowest_ipv6_mtu: lowest.max(1280),
        mtu4: mtu4.max(68),
        mtu6: mtu6.max(1280),
        udp_zero_checksum: match b & 3 {
            0 => UdpZeroChecksum::Drop,
            1 => UdpZeroChecksum::Pass,
            _ => UdpZeroChecksum::Compute,
        },
        hairpin: match b >> 2 & 3 {
            0 => Hairpin::None,
            1 => Hairpin::Simple,
            _ => Hairpin::Intrinsic,
        },
        traffic_class: if b & 16 == 0 { TrafficClass::Copy } else { TrafficClass::Fixed(0x28) },
        private_through_well_known: b & 32 == 0,
        mtu_plateaus: if b & 64 == 0 { Config::default().mtu_plateaus } else { vec![0, 1400, 576] },
    }
}

/// Sets what a fuzzer rarely guesses: the length and the header checksum.
fn repair(packet: &mut [u8]) {
    match packet.first().map(|first| first >> 4) {
        Some(4) if packet.len() >= 20 => {
            let length = packet.len() as u16;
            packet[2..4].copy_from_slice(&length.to_be_bytes());
            packet[10..12].fill(0);
            let header_len = usize::from(packet[0] & 15) * 4;
            if let Some(header) = packet.get(..header_len) {
                let sum = etherparse::checksum::Sum16BitWords::new().add_slice(header).ones_complement();
                packet[10..12].copy_from_slice(&sum.to_ne_bytes());
            }
        }
        Some(6) if packet.len() >= 40 => {
            let length = (packet.len() - 40) as u16;
            packet[4..6].copy_from_slice(&length.to_be_bytes());
        }
        _ => {}
    }
}
