//! What is answered to a solicitation: bytes in, bytes out.

use std::net::Ipv6Addr;

use straddle_wire::checksum::{Sum, pseudo6};
use straddle_wire::icmpv6;
use straddle_wire::ip::ICMPV6;
use straddle_wire::ipv6::{self, Header, Packet};
use straddle_wire::ndp::{self, Advertisement, LinkAddress, Solicitation, solicited_node};

use super::{Reason, Table};

/// Which address answers are sent from. Hosters differ in what their filters let through.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Source {
    /// The device's link-local address, as the kernel's proxy does it.
    #[default]
    LinkLocal,
    /// This address, which the hoster knows to be the host's: some accept no others on their link.
    Global(Ipv6Addr),
    /// As it was asked: to a link-local address from the device's, to any other from this one.
    AsAsked(Ipv6Addr),
}

/// How answers are made.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Manner {
    /// Where they come from.
    pub source: Source,
    /// Whether this host says that it is a router, as one that forwards does.
    pub router: bool,
}

/// What the device has at present.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Own {
    pub(super) link: LinkAddress,
    pub(super) link_local: Option<Ipv6Addr>,
}

/// An advertisement that is to be sent.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Answer {
    /// The whole packet, from the IPv6 header on.
    pub(super) packet: [u8; LENGTH],
    /// Where the frame goes.
    pub(super) to: LinkAddress,
}

/// A solicitation that is to be answered: of an assigned address, by a neighbour.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Question {
    pub(super) from: Ipv6Addr,
    from_link: LinkAddress,
    target: Ipv6Addr,
}

/// Bytes of an answer.
pub(super) const LENGTH: usize = ipv6::HEADER + ndp::LONGEST;

/// What is asked by a packet from the IPv6 header on, which `frame_from` sent.
///
/// # Errors
/// Why it is not answered. The cheap questions come first; the table before the checksum, since most of what is
/// heard on a link is for others.
pub(super) fn question(packet: &[u8], frame_from: LinkAddress, table: &Table) -> Result<Question, Reason> {
    let packet = Packet::parse(packet).map_err(|_| Reason::Malformed)?;
    let Header { source, destination, hop_limit, next_header, .. } = packet.header;
    if next_header != ICMPV6 {
        return Err(Reason::Malformed);
    }
    let asked = Solicitation::parse(packet.payload).map_err(|_| Reason::Malformed)?;
    if hop_limit != ndp::HOP_LIMIT {
        return Err(Reason::HopLimit);
    }
    table.look_up(asked.target)?;
    let sum = pseudo6(source, destination, ICMPV6, u32::from(packet.header.payload_len));
    if !sum.plus(Sum::of(packet.payload)).is_valid() {
        return Err(Reason::Checksum);
    }
    if source.is_unspecified() {
        return Err(Reason::DuplicateProbe);
    }
    if destination != asked.target && destination != solicited_node(asked.target) {
        return Err(Reason::WrongGroup);
    }
    let from_link = asked.source_link.unwrap_or(frame_from);
    if !is_neighbour(source) || source == asked.target || !is_unicast(from_link) {
        return Err(Reason::UnsuitableSource);
    }
    Ok(Question { from: source, from_link, target: asked.target })
}

impl Question {
    /// What is answered (RFC 4861 §7.2.4, §7.2.8).
    ///
    /// # Errors
    /// The device has no link-local address yet.
    pub(super) fn answer(&self, own: &Own, manner: &Manner) -> Result<Answer, Reason> {
        let source = match manner.source {
            Source::Global(address) => Some(address),
            Source::AsAsked(address) if !self.from.is_unicast_link_local() => Some(address),
            Source::LinkLocal | Source::AsAsked(_) => own.link_local,
        };
        let source = source.ok_or(Reason::NoSource)?;
        let told = Advertisement {
            router: manner.router,
            solicited: true,
            r#override: false,
            target: self.target,
            target_link: Some(own.link),
        };
        let mut message = [0; ndp::LONGEST];
        let length = told.emit(source, self.from, &mut message);
        let header = Header { hop_limit: ndp::HOP_LIMIT, ..icmpv6::error_ip(source, self.from, length) };
        let mut packet = [0; LENGTH];
        packet.iter_mut().zip(header.emit().into_iter().chain(message)).for_each(|(to, from)| *to = from);
        Ok(Answer { packet, to: self.from_link })
    }
}

/// Whether a neighbour can have this address.
fn is_neighbour(address: Ipv6Addr) -> bool {
    !address.is_multicast() && !address.is_loopback() && address.to_ipv4_mapped().is_none()
}

fn is_unicast(link: LinkAddress) -> bool {
    let [first, ..] = link;
    first & 1 == 0 && link != [0; 6]
}

#[cfg(test)]
mod tests {
    use super::*;

    const GATEWAY: &str = "fe80::1";
    const GATEWAY_LINK: LinkAddress = [2, 0, 0, 0, 0, 1];
    const FRAME: LinkAddress = [2, 0, 0, 0, 0, 9];
    const TARGET: &str = "2001:db8:1::3";
    const OWN: Own =
        Own { link: [2, 0, 0, 0, 0, 2], link_local: Some(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 2)) };

    fn address(text: &str) -> Ipv6Addr {
        text.parse().unwrap()
    }

    fn table() -> Table {
        Table::new(["2001:db8:1::/64".parse().unwrap()], [address("2001:db8:1::2")])
    }

    /// A solicitation as it is heard.
    fn heard(source: &str, destination: &str, target: &str, source_link: Option<LinkAddress>) -> Vec<u8> {
        let (source, destination) = (address(source), address(destination));
        let mut message = [0; ndp::LONGEST];
        let asked = Solicitation { target: address(target), source_link };
        let length = asked.emit(source, destination, &mut message);
        let header = Header { hop_limit: 255, ..icmpv6::error_ip(source, destination, length) };
        [&header.emit()[..], &message[..length]].concat()
    }

    fn ends(packet: &[u8], expected: Result<LinkAddress, Reason>) {
        let found = question(packet, FRAME, &table()).map(|question| question.from_link);
        assert_eq!(found, expected, "{packet:02x?}");
    }

    #[test]
    fn who_asks_for_what() {
        let group = solicited_node(address(TARGET)).to_string();
        let check = |source: &str, destination: &str, target: &str, expected: Result<LinkAddress, Reason>| {
            ends(&heard(source, destination, target, Some(GATEWAY_LINK)), expected);
        };
        check(GATEWAY, &group, TARGET, Ok(GATEWAY_LINK));
        check("2001:db8:ffff::1", &group, TARGET, Ok(GATEWAY_LINK));
        // A probe whether the neighbour is still there.
        check(GATEWAY, TARGET, TARGET, Ok(GATEWAY_LINK));
        check("::", &group, TARGET, Err(Reason::DuplicateProbe));
        check("::", TARGET, TARGET, Err(Reason::DuplicateProbe));
        check(GATEWAY, "ff02::1", TARGET, Err(Reason::WrongGroup));
        check(GATEWAY, "ff02::1:ff00:4", TARGET, Err(Reason::WrongGroup));
        check(GATEWAY, "2001:db8:1::4", TARGET, Err(Reason::WrongGroup));
        check(GATEWAY, "ff02::1:ff00:2", "2001:db8:1::2", Err(Reason::OwnAddress));
        check(GATEWAY, &group, "2001:db8:2::3", Err(Reason::NotAssigned));
        check(GATEWAY, &group, "fe80::3", Err(Reason::NotAssigned));
        check("ff02::1", &group, TARGET, Err(Reason::UnsuitableSource));
        check("::1", &group, TARGET, Err(Reason::UnsuitableSource));
        check("::ffff:192.0.2.1", &group, TARGET, Err(Reason::UnsuitableSource));
        check(TARGET, &group, TARGET, Err(Reason::UnsuitableSource));
        check(GATEWAY, &group, "ff02::3", Err(Reason::Malformed));
    }

    #[test]
    fn where_the_answer_goes() {
        let group = solicited_node(address(TARGET)).to_string();
        let check = |link: Option<LinkAddress>, expected: Result<LinkAddress, Reason>| {
            ends(&heard(GATEWAY, &group, TARGET, link), expected);
        };
        check(None, Ok(FRAME));
        check(Some([0; 6]), Err(Reason::UnsuitableSource));
        check(Some([0x33, 0x33, 0, 0, 0, 1]), Err(Reason::UnsuitableSource));
        check(Some([0xff; 6]), Err(Reason::UnsuitableSource));
    }

    #[test]
    fn bytes_that_are_not_right() {
        let group = solicited_node(address(TARGET)).to_string();
        let good = heard(GATEWAY, &group, TARGET, Some(GATEWAY_LINK));
        let check = |at: usize, byte: u8, expected: Reason| {
            let mut packet = good.clone();
            packet[at] = byte;
            ends(&packet, Err(expected));
        };
        check(7, 254, Reason::HopLimit);
        check(7, 0, Reason::HopLimit);
        check(6, 17, Reason::Malformed);
        check(0, 0x40, Reason::Malformed);
        check(5, 33, Reason::Malformed);
        check(5, 24 + 7, Reason::Malformed);
        check(40, 136, Reason::Malformed);
        check(41, 1, Reason::Malformed);
        check(65, 0, Reason::Malformed);
        // Reserved bytes don't matter, but they are under the checksum.
        check(44, 1, Reason::Checksum);
        check(71, 7, Reason::Checksum);
        for length in 0..good.len() {
            ends(&good[..length], Err(Reason::Malformed));
        }
        // Padding of the frame does not belong to it.
        ends(&[&good[..], &[0; 20]].concat(), Ok(GATEWAY_LINK));
    }

    #[test]
    fn answers() {
        let global = address("2001:db8:1::2");
        let check = |from: &str, source: Source, own: Own, expected: Result<&str, Reason>| {
            let group = solicited_node(address(TARGET)).to_string();
            let packet = heard(from, &group, TARGET, Some(GATEWAY_LINK));
            let asked = question(&packet, FRAME, &table()).unwrap();
            for router in [true, false] {
                let answer = asked.answer(&own, &Manner { source, router });
                let Ok(answer) = answer else {
                    assert_eq!(answer.map(drop), expected.map(drop));
                    continue;
                };
                assert_eq!(answer.to, GATEWAY_LINK);
                let packet = Packet::parse(&answer.packet).unwrap();
                let Header { source, destination, hop_limit, .. } = packet.header;
                assert_eq!(
                    (source, destination, hop_limit),
                    (address(expected.unwrap()), address(from), 255)
                );
                assert_eq!(packet.payload.len(), 32);
                let sum = pseudo6(source, destination, ICMPV6, 32).plus(Sum::of(packet.payload));
                assert!(sum.is_valid());
                let told = Advertisement {
                    router,
                    solicited: true,
                    r#override: false,
                    target: address(TARGET),
                    target_link: Some(own.link),
                };
                assert_eq!(Advertisement::parse(packet.payload), Ok(told));
            }
        };
        let none = Own { link_local: None, ..OWN };
        check(GATEWAY, Source::LinkLocal, OWN, Ok("fe80::2"));
        check("2001:db8:1::1", Source::LinkLocal, OWN, Ok("fe80::2"));
        check(GATEWAY, Source::LinkLocal, none, Err(Reason::NoSource));
        check(GATEWAY, Source::Global(global), none, Ok("2001:db8:1::2"));
        check("2001:db8:1::1", Source::Global(global), OWN, Ok("2001:db8:1::2"));
        check(GATEWAY, Source::AsAsked(global), OWN, Ok("fe80::2"));
        check(GATEWAY, Source::AsAsked(global), none, Err(Reason::NoSource));
        check("2001:db8:1::1", Source::AsAsked(global), none, Ok("2001:db8:1::2"));
    }
}
