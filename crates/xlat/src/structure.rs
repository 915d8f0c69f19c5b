//! The payload of an ICMP error as it goes out: a packet, and an extension structure (RFC 4884).

use core::net::Ipv6Addr;

use straddle_wire::extension::{self, MIN_DATAGRAM};

use crate::quote::Quote;

/// An extension structure; one of no bytes is none.
pub(crate) struct Structure<'a> {
    /// In place of the first bytes of `body`, where there is an object.
    header: Option<[u8; extension::HEADER]>,
    body: &'a [u8],
    object: Option<[u8; extension::NODE]>,
}

impl<'a> Structure<'a> {
    /// One as it came in: what is in it is not ours to read (RFC 7915 §4.2).
    pub(crate) fn of(body: &'a [u8]) -> Self {
        Self { header: None, body, object: None }
    }

    /// One that tells a node's address behind all that came in. Behind what can't be read there is nothing.
    pub(crate) fn with_node(body: &'a [u8], address: Ipv6Addr) -> Self {
        let object = extension::node(address);
        match extension::header_with(body, &object) {
            Some(header) => {
                let body = body.get(extension::HEADER..).unwrap_or_default();
                Self { header: Some(header), body, object: Some(object) }
            }
            None => Self::of(body),
        }
    }

    fn parts(&self) -> [&[u8]; 3] {
        let header = self.header.as_ref().map_or(&[][..], |header| header);
        [header, self.body, self.object.as_ref().map_or(&[][..], |object| object)]
    }

    fn len(&self) -> usize {
        self.parts().iter().map(|part| part.len()).sum()
    }

    /// Writes the quote and this behind it. Returns the length in bytes, and the length attribute: that of the
    /// quote in units of `unit` bytes where a structure follows, else zero.
    ///
    /// The quote gives way, down to 128 bytes (RFC 4884 §4; draft-ietf-v6ops-icmpext-xlat-v6only-source, appendix).
    /// A structure that does not fit behind these is left out: RFC 7915 §4.2 has it truncated, and nobody could
    /// read what is left.
    pub(crate) fn write(&self, quote: &Quote<'_>, unit: usize, out: &mut [u8]) -> (usize, u8) {
        let room = out.len();
        let wanted = quote.len().max(MIN_DATAGRAM).next_multiple_of(unit);
        let left = room.saturating_sub(self.len()) / unit * unit;
        let datagram = if self.len() > 0 { wanted.min(left) } else { wanted };
        let fits = (MIN_DATAGRAM..=left).contains(&datagram) && datagram / unit <= u8::MAX.into();
        let fits = fits && self.len() > 0;
        let limit = if fits { datagram } else { room };
        let mut end = 0;
        let (front, _) = out.split_at_mut_checked(limit).unwrap_or_default();
        for part in quote.parts() {
            put(front, &mut end, part);
        }
        if !fits {
            return (end, 0);
        }
        if let Some(padding) = out.get_mut(end..datagram) {
            padding.fill(0);
        }
        end = datagram;
        for part in self.parts() {
            put(out, &mut end, part);
        }
        (end, (datagram / unit) as u8)
    }
}

/// Puts as much of `bytes` at `end` as there is room for, and moves `end` behind it.
pub(crate) fn put(out: &mut [u8], end: &mut usize, bytes: &[u8]) {
    let to = out.get_mut(*end..).unwrap_or_default();
    let length = bytes.len().min(to.len());
    if let Some((to, from)) = to.get_mut(..length).zip(bytes.get(..length)) {
        to.copy_from_slice(from);
    }
    *end += length;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quote::tests::quote;
    use std::vec;

    const STRUCTURE: [u8; 12] = [0x20, 0, 0x9d, 0xf1, 0, 8, 1, 1, 0, 6, 0x40, 0xff];

    /// Length and length attribute of a quote of `length` bytes and a structure.
    fn check(structure: &Structure<'_>, length: usize, unit: usize, room: usize, expected: (usize, u8)) {
        let bytes = vec![7; length];
        let mut out = vec![0xee; room];
        assert_eq!(structure.write(&quote(&bytes), unit, &mut out), expected);
        let quoted = expected.0.min(length);
        let datagram = usize::from(expected.1) * unit;
        if datagram > 0 {
            assert_eq!(out[expected.0 - 2..expected.0], structure.parts().concat()[structure.len() - 2..]);
            assert!(out[length.min(datagram)..datagram].iter().all(|byte| *byte == 0));
        } else {
            assert_eq!(out[..quoted], bytes[..quoted]);
        }
    }

    #[test]
    fn what_goes_behind_a_quote() {
        let none = Structure::of(&[]);
        check(&none, 60, 8, 1232, (60, 0));
        check(&none, 2000, 8, 1232, (1232, 0));
        let some = Structure::of(&STRUCTURE);
        check(&some, 60, 8, 1232, (140, 16));
        check(&some, 60, 4, 548, (140, 32));
        check(&some, 129, 8, 1232, (148, 17));
        check(&some, 129, 4, 548, (144, 33));
        check(&some, 536, 4, 548, (548, 134));
        check(&some, 537, 4, 548, (548, 134));
        check(&some, 2000, 8, 1232, (1228, 152));
        check(&some, 60, 4, 139, (60, 0));
        let node = Structure::with_node(&[], Ipv6Addr::LOCALHOST);
        check(&node, 60, 4, 548, (156, 32));
        check(&node, 2000, 4, 548, (548, 130));
        check(&node, 60, 4, 155, (60, 0));
        let both = Structure::with_node(&STRUCTURE, Ipv6Addr::LOCALHOST);
        check(&both, 60, 4, 548, (164, 32));
        check(&Structure::with_node(&[0x10; 8], Ipv6Addr::LOCALHOST), 60, 4, 548, (136, 32));
    }
}
