//! A small synchronous netlink socket.

use netlink_packet_core::{
    NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST, NetlinkDeserializable, NetlinkHeader, NetlinkMessage,
    NetlinkPayload,
};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_sys::{SocketAddr, protocols::NETLINK_ROUTE};

use crate::Error;

/// One netlink socket: one request at a time.
pub(crate) struct Socket {
    socket: netlink_sys::Socket,
    sequence: u32,
}

/// An object of a dump: as the library reads it, and as the kernel wrote it.
pub(crate) struct Found {
    pub(crate) message: RouteNetlinkMessage,
    pub(crate) payload: Vec<u8>,
}

/// `struct nlmsghdr`.
const HEADER: usize = 16;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const NLM_F_DUMP_INTR: u16 = 0x10;
const NLM_F_ACK_TLVS: u16 = 0x200;
const NLMSGERR_ATTR_MSG: u16 = 1;

impl Socket {
    /// For devices, addresses and routes.
    pub(crate) fn open() -> Result<Socket, Error> {
        Socket::of(NETLINK_ROUTE)
    }

    /// For another part of the kernel (`NETLINK_*` of `linux/netlink.h`).
    pub(crate) fn of(protocol: isize) -> Result<Socket, Error> {
        let open = || {
            let mut socket = netlink_sys::Socket::new(protocol)?;
            socket.bind_auto()?;
            socket.connect(&SocketAddr::new(0, 0))?;
            socket.set_ext_ack(true)?;
            socket.set_cap_ack(true)?;
            Ok(socket)
        };
        let socket = open().map_err(Error::call("netlink socket"))?;
        Ok(Socket { socket, sequence: 0 })
    }

    /// Every object of a kind. A dump that a change ran across is taken again (`NLM_F_DUMP_INTR`).
    pub(crate) fn dump(&mut self, what: &str, message: &RouteNetlinkMessage) -> Result<Vec<Found>, Error> {
        loop {
            let (found, interrupted) = self.dump_once(what, message)?;
            if !interrupted {
                return Ok(found);
            }
        }
    }

    /// One change, acknowledged.
    pub(crate) fn change(
        &mut self,
        what: &str,
        message: RouteNetlinkMessage,
        flags: u16,
    ) -> Result<(), Error> {
        let bytes = self.encode(message, NLM_F_REQUEST | NLM_F_ACK | flags);
        self.acknowledged(what, &bytes)
    }

    /// One change whose payload is handed back as the kernel once told it.
    pub(crate) fn replay(&mut self, what: &str, kind: u16, payload: &[u8], flags: u16) -> Result<(), Error> {
        let bytes = self.framed((kind, payload), NLM_F_REQUEST | NLM_F_ACK | flags);
        self.acknowledged(what, &bytes)
    }

    /// Changes as in [`Socket::replay`], each acknowledged, that are asked for at once: nobody's end comes between them.
    pub(crate) fn replay_all<const N: usize>(
        &mut self,
        changes: [(&str, u16, Vec<u8>, u16); N],
    ) -> Result<[Result<(), Error>; N], Error> {
        let mut bytes = Vec::new();
        let asked = changes.map(|(what, kind, payload, flags)| {
            bytes.extend(self.framed((kind, &payload), NLM_F_REQUEST | NLM_F_ACK | flags));
            (what, self.sequence)
        });
        self.send(asked.first().map_or("", |(what, _)| what), &bytes)?;
        let mut answers = asked.map(|_| None);
        while answers.iter().any(Option::is_none) {
            for part in parts(&self.receive()?) {
                let place = asked.iter().position(|(_, sequence)| *sequence == part.sequence);
                let place = place.filter(|_| part.kind == NLMSG_ERROR);
                let slot = place.and_then(|place| Some((asked.get(place)?, answers.get_mut(place)?)));
                if let Some(((what, _), answer)) = slot {
                    *answer = Some(part.verdict(what));
                }
            }
        }
        Ok(answers.map(|answer| answer.unwrap_or(Ok(()))))
    }

    /// Hands over each object of a dump that the library knows nothing of, by its kind.
    pub(crate) fn each(
        &mut self,
        what: &str,
        request: (u16, &[u8]),
        take: &mut dyn FnMut(u16, &[u8]),
    ) -> Result<(), Error> {
        let bytes = self.framed(request, NLM_F_REQUEST | NLM_F_DUMP);
        self.dumped(what, &bytes, &mut |part| take(part.kind, part.payload)).map(drop)
    }

    fn framed(&mut self, (kind, payload): (u16, &[u8]), flags: u16) -> Vec<u8> {
        self.sequence += 1;
        let length = u32::try_from(HEADER + payload.len()).unwrap_or(u32::MAX);
        let mut bytes = Vec::with_capacity(HEADER + payload.len());
        bytes.extend(length.to_ne_bytes());
        bytes.extend(kind.to_ne_bytes());
        bytes.extend(flags.to_ne_bytes());
        bytes.extend(self.sequence.to_ne_bytes());
        bytes.extend(0u32.to_ne_bytes());
        bytes.extend(payload);
        bytes
    }

    fn encode(&mut self, message: RouteNetlinkMessage, flags: u16) -> Vec<u8> {
        self.sequence += 1;
        let mut header = NetlinkHeader::default();
        header.flags = flags;
        header.sequence_number = self.sequence;
        let mut packet = NetlinkMessage::new(header, NetlinkPayload::from(message));
        packet.finalize();
        let mut bytes = vec![0; packet.buffer_len()];
        packet.serialize(&mut bytes);
        bytes
    }

    fn dump_once(&mut self, what: &str, message: &RouteNetlinkMessage) -> Result<(Vec<Found>, bool), Error> {
        let bytes = self.encode(message.clone(), NLM_F_REQUEST | NLM_F_DUMP);
        let mut found = Vec::new();
        let interrupted = self.dumped(what, &bytes, &mut |part| found.extend(part.found()))?;
        Ok((found, interrupted))
    }

    /// Returns whether a change ran across it.
    fn dumped(&mut self, what: &str, bytes: &[u8], take: &mut dyn FnMut(&Part<'_>)) -> Result<bool, Error> {
        self.send(what, bytes)?;
        let mut interrupted = false;
        loop {
            for part in parts(&self.receive()?) {
                if part.sequence != self.sequence {
                    continue;
                }
                interrupted |= part.flags & NLM_F_DUMP_INTR != 0;
                match part.kind {
                    NLMSG_DONE => return Ok(interrupted),
                    NLMSG_ERROR => part.verdict(what)?,
                    _ => take(&part),
                }
            }
        }
    }

    fn acknowledged(&mut self, what: &str, bytes: &[u8]) -> Result<(), Error> {
        self.send(what, bytes)?;
        loop {
            for part in parts(&self.receive()?) {
                if part.sequence == self.sequence && part.kind == NLMSG_ERROR {
                    return part.verdict(what);
                }
            }
        }
    }

    fn send(&mut self, what: &str, bytes: &[u8]) -> Result<(), Error> {
        let refused = |source: std::io::Error| Error::Netlink {
            what: what.into(),
            why: source.to_string(),
            code: source.raw_os_error().unwrap_or(0),
        };
        self.socket.send(bytes, 0).map(drop).map_err(refused)
    }

    fn receive(&mut self) -> Result<Vec<u8>, Error> {
        self.socket.recv_from_full().map(|(bytes, _)| bytes).map_err(Error::call("netlink answer"))
    }
}

/// One message of an answer.
struct Part<'a> {
    kind: u16,
    flags: u16,
    sequence: u32,
    payload: &'a [u8],
}

fn parts(bytes: &[u8]) -> Vec<Part<'_>> {
    let mut parts = Vec::new();
    let mut rest = bytes;
    while let (Some(length), Some(kind), Some(flags), Some(sequence)) =
        (u32_at(rest, 0), u16_at(rest, 4), u16_at(rest, 6), u32_at(rest, 8))
    {
        let length = length as usize;
        let Some(payload) = rest.get(HEADER..length) else { break };
        parts.push(Part { kind, flags, sequence, payload });
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or(&[]);
    }
    parts
}

impl Part<'_> {
    /// What the library can't read is nothing that we would touch.
    fn found(&self) -> Option<Found> {
        let mut header = NetlinkHeader::default();
        header.message_type = self.kind;
        let message = RouteNetlinkMessage::deserialize(&header, self.payload).ok()?;
        Some(Found { message, payload: self.payload.to_vec() })
    }

    /// `struct nlmsgerr`: 0 is an acknowledgement.
    fn verdict(&self, what: &str) -> Result<(), Error> {
        let code = u32_at(self.payload, 0).map_or(0, u32::cast_signed);
        if code == 0 {
            return Ok(());
        }
        let plain = || std::io::Error::from_raw_os_error(-code).to_string();
        Err(Error::Netlink { what: what.into(), why: self.words().unwrap_or_else(plain), code: -code })
    }

    /// The kernel's own words, behind the capped request.
    fn words(&self) -> Option<String> {
        if self.flags & NLM_F_ACK_TLVS == 0 {
            return None;
        }
        let attributes = super::raw::attributes(self.payload.get(4 + HEADER..)?);
        let words = attributes.into_iter().find(|(kind, _)| *kind == NLMSGERR_ATTR_MSG)?.1;
        Some(String::from_utf8_lossy(words).trim_end_matches('\0').to_string())
    }
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..at + 2)?.try_into().ok().map(u16::from_ne_bytes)
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..at + 4)?.try_into().ok().map(u32::from_ne_bytes)
}
