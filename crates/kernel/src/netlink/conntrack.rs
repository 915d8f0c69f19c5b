//! The connections that the kernel tracks (`linux/netfilter/nfnetlink_conntrack.h`). What was decided of one with its
//! first packet holds as long as it is known: those that we decide otherwise have to be forgotten.

use std::net::Ipv4Addr;
use std::path::Path;

use netlink_sys::protocols::NETLINK_NETFILTER;
use straddle_intent::model::Transport;
use straddle_intent::object::Diversion;

use super::{Socket, raw};
use crate::Error;

/// `NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_*`.
const NEW: u16 = 0x100;
const GET: u16 = 0x101;
const DELETE: u16 = 0x102;
/// `struct nfgenmsg` for `AF_INET`.
const HEADER: [u8; 4] = [2, 0, 0, 0];
const CTA_TUPLE_ORIG: u16 = 1;
const CTA_TUPLE_REPLY: u16 = 2;
const CTA_ID: u16 = 12;
const CTA_ZONE: u16 = 18;
const CTA_TUPLE_IP: u16 = 1;
const CTA_TUPLE_PROTO: u16 = 2;
const CTA_IP_V4_SRC: u16 = 1;
const CTA_IP_V4_DST: u16 = 2;
const CTA_PROTO_NUM: u16 = 1;
const CTA_PROTO_DST_PORT: u16 = 3;
const NLA_F_NESTED: u16 = 0x8000;
/// Is there where anything is tracked.
const TRACKS: &str = "/proc/sys/net/netfilter/nf_conntrack_count";
/// What a kernel without conntrack, or without this way to it, answers.
const LACKING: [i32; 5] =
    [libc::EPROTONOSUPPORT, libc::EOPNOTSUPP, libc::EINVAL, libc::ENOENT, libc::EAFNOSUPPORT];

/// An IPv4 connection, as its first packet had it and as answers have it.
#[derive(Debug)]
pub(crate) struct Flow {
    source: Ipv4Addr,
    destination: Ipv4Addr,
    protocol: u8,
    port: u16,
    answered_from: Ipv4Addr,
    answered_to: Ipv4Addr,
}

impl Flow {
    /// Whether the address takes part in it from this host's side.
    pub(crate) fn concerns(&self, address: Ipv4Addr) -> bool {
        self.destination == address || self.answered_to == address
    }

    /// Whether it would go elsewhere if it began with this diversion in force.
    pub(crate) fn precedes(&self, diversion: &Diversion) -> bool {
        self.is_for(diversion) && self.answered_from != diversion.to
    }

    /// Whether it goes on by a diversion that is no more; so does what the target sends as the address.
    pub(crate) fn outlives(&self, diversion: &Diversion) -> bool {
        let sent = self.source == diversion.to && self.answered_to == diversion.address;
        self.is_for(diversion) && self.answered_from == diversion.to || diversion.ports.is_none() && sent
    }

    fn is_for(&self, diversion: &Diversion) -> bool {
        let meant = diversion.ports.is_none_or(|(transport, first, last)| {
            self.protocol == number(transport) && (first..=last).contains(&self.port)
        });
        self.destination == diversion.address && meant
    }
}

/// Forgets the flows that are meant; their next packets are looked at as new ones. Where the kernel tracks nothing, or
/// lets nobody see what, there is nothing to do.
pub(crate) fn forget(meant: impl Fn(&Flow) -> bool) -> Result<(), Error> {
    // To ask would load the module.
    if !Path::new(TRACKS).exists() {
        return Ok(());
    }
    let mut socket = match Socket::of(NETLINK_NETFILTER) {
        Err(Error::Call { source, .. }) if lacking(source.raw_os_error()) => return Ok(()),
        other => other?,
    };
    let mut doomed = Vec::new();
    let dumped = socket.each("list connections", (GET, &HEADER), &mut |kind, payload| {
        if kind == NEW && read(payload).is_some_and(|flow| meant(&flow)) {
            doomed.push(name(payload));
        }
    });
    match dumped {
        Err(Error::Netlink { code, .. }) if lacking(Some(code)) => return Ok(()),
        other => other?,
    }
    for name in doomed {
        match socket.replay("forget a connection", DELETE, &name, 0) {
            Err(error) if error.is(libc::ENOENT) => {}
            other => other?,
        }
    }
    Ok(())
}

fn lacking(code: Option<i32>) -> bool {
    code.is_some_and(|code| LACKING.contains(&code))
}

fn read(payload: &[u8]) -> Option<Flow> {
    let attributes = raw::attributes(payload.get(HEADER.len()..)?);
    let origin = raw::attributes(value(&attributes, CTA_TUPLE_ORIG)?);
    let reply = raw::attributes(value(&attributes, CTA_TUPLE_REPLY)?);
    let (source, destination) = addresses(&origin)?;
    let (answered_from, answered_to) = addresses(&reply)?;
    let transport = raw::attributes(value(&origin, CTA_TUPLE_PROTO)?);
    let port = value(&transport, CTA_PROTO_DST_PORT).and_then(|port| port.try_into().ok());
    Some(Flow {
        source,
        destination,
        protocol: *value(&transport, CTA_PROTO_NUM)?.first()?,
        port: port.map_or(0, u16::from_be_bytes),
        answered_from,
        answered_to,
    })
}

fn addresses(tuple: &[(u16, &[u8])]) -> Option<(Ipv4Addr, Ipv4Addr)> {
    let addresses = raw::attributes(value(tuple, CTA_TUPLE_IP)?);
    let one = |kind| <[u8; 4]>::try_from(value(&addresses, kind)?).ok().map(Ipv4Addr::from);
    Some((one(CTA_IP_V4_SRC)?, one(CTA_IP_V4_DST)?))
}

fn value<'a>(attributes: &[(u16, &'a [u8])], wanted: u16) -> Option<&'a [u8]> {
    attributes.iter().find(|(kind, _)| *kind == wanted).map(|(_, value)| *value)
}

/// What tells exactly this flow: its first tuple, its zone and its number, as the kernel told them.
fn name(payload: &[u8]) -> Vec<u8> {
    let mut out = HEADER.to_vec();
    for (kind, value) in raw::attributes(payload.get(HEADER.len()..).unwrap_or_default()) {
        match kind {
            CTA_TUPLE_ORIG => raw::push(&mut out, kind | NLA_F_NESTED, value),
            CTA_ZONE | CTA_ID => raw::push(&mut out, kind, value),
            _ => {}
        }
    }
    out
}

fn number(transport: Transport) -> u8 {
    match transport {
        Transport::Tcp => 6,
        Transport::Udp => 17,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLIENT: [u8; 4] = [198, 51, 100, 7];
    const PUBLIC: [u8; 4] = [203, 0, 113, 144];
    const SERVER: [u8; 4] = [192, 168, 1, 210];

    /// `struct nfgenmsg` and attributes, as the kernel tells a flow.
    fn told(origin: [[u8; 4]; 2], reply: [[u8; 4]; 2], protocol: u8, port: u16) -> Vec<u8> {
        let tuple = |[source, destination]: [[u8; 4]; 2]| {
            let (mut ip, mut proto, mut tuple) = (Vec::new(), Vec::new(), Vec::new());
            raw::push(&mut ip, CTA_IP_V4_SRC, &source);
            raw::push(&mut ip, CTA_IP_V4_DST, &destination);
            raw::push(&mut proto, CTA_PROTO_NUM, &[protocol]);
            raw::push(&mut proto, CTA_PROTO_DST_PORT, &port.to_be_bytes());
            raw::push(&mut tuple, CTA_TUPLE_IP | NLA_F_NESTED, &ip);
            raw::push(&mut tuple, CTA_TUPLE_PROTO | NLA_F_NESTED, &proto);
            tuple
        };
        let mut payload = HEADER.to_vec();
        raw::push(&mut payload, CTA_TUPLE_ORIG | NLA_F_NESTED, &tuple(origin));
        raw::push(&mut payload, CTA_TUPLE_REPLY | NLA_F_NESTED, &tuple(reply));
        raw::push(&mut payload, CTA_ID, &7u32.to_be_bytes());
        payload
    }

    #[track_caller]
    fn check(flow: &[u8], ports: Option<(Transport, u16, u16)>, precedes: bool, outlives: bool) {
        let flow = read(flow).unwrap();
        let diversion = Diversion { address: PUBLIC.into(), ports, to: SERVER.into() };
        assert_eq!((flow.precedes(&diversion), flow.outlives(&diversion)), (precedes, outlives), "{flow:?}");
    }

    #[test]
    fn which_flows_a_diversion_concerns() {
        let here = told([CLIENT, PUBLIC], [PUBLIC, CLIENT], 17, 4000);
        let diverted = told([CLIENT, PUBLIC], [SERVER, CLIENT], 17, 4000);
        check(&here, None, true, false);
        check(&here, Some((Transport::Udp, 3999, 4000)), true, false);
        check(&here, Some((Transport::Udp, 4001, 4002)), false, false);
        check(&here, Some((Transport::Tcp, 3999, 4000)), false, false);
        check(&diverted, None, false, true);
        check(&diverted, Some((Transport::Udp, 4000, 4000)), false, true);
        check(&told([SERVER, CLIENT], [CLIENT, PUBLIC], 17, 53), None, false, true);
        check(
            &told([SERVER, CLIENT], [CLIENT, PUBLIC], 17, 53),
            Some((Transport::Udp, 53, 53)),
            false,
            false,
        );
        // What this host itself has called, and what has nothing to do with it.
        check(&told([PUBLIC, CLIENT], [CLIENT, PUBLIC], 6, 443), None, false, false);
        check(&told([CLIENT, SERVER], [SERVER, CLIENT], 6, 443), None, false, false);
    }
}
