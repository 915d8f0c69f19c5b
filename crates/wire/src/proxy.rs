//! PROXY protocol headers (haproxy's `proxy-protocol.txt`, versions 1 and 2): bytes ⇄ addresses.

mod v1;
mod v2;

use core::net::{IpAddr, SocketAddr};

/// A header of version 2 at its longest, without extensions.
const LONGEST: usize = 52;
/// More bytes than these no header that is read may have.
pub const ROOM: usize = 4096;

/// What the first bytes of a connection are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Read {
    /// The beginning of a header.
    Incomplete,
    /// No header.
    Bad,
    /// A header of so many bytes, and whose connection it is about: client and destination. Without them it is
    /// about the connection that it came by.
    Header(usize, Option<(SocketAddr, SocketAddr)>),
}

/// Reads a header of either version, which what follows it is no part of.
#[must_use]
pub fn read(bytes: &[u8]) -> Read {
    let begins = |signature: &[u8]| bytes.iter().zip(signature).all(|(one, other)| one == other);
    if begins(v2::SIGNATURE) {
        v2::read(bytes)
    } else if begins(v1::SIGNATURE) {
        v1::read(bytes)
    } else {
        Read::Bad
    }
}

/// What a header of version 2 is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// A connection.
    Stream,
    /// Datagrams.
    Datagram,
}

/// A header of version 2, ready to be sent.
#[derive(Clone, Copy, Debug)]
pub struct Header {
    bytes: [u8; LONGEST],
    length: usize,
}

impl Header {
    /// About a connection from `client` to `destination`. An IPv4 client is told as one, in whatever notation it came.
    #[must_use]
    pub fn of(transport: Transport, client: SocketAddr, destination: SocketAddr) -> Header {
        let canonical = |address: SocketAddr| SocketAddr::new(address.ip().to_canonical(), address.port());
        let (client, destination) = (canonical(client), canonical(destination));
        let mut header = Header { bytes: [0; LONGEST], length: 0 };
        match (client.ip(), destination.ip()) {
            (IpAddr::V4(one), IpAddr::V4(other)) => {
                header.begin(1, transport, 12);
                header.put(&one.octets());
                header.put(&other.octets());
            }
            (one, other) => {
                header.begin(2, transport, 36);
                for address in [one, other] {
                    let address = match address {
                        IpAddr::V4(address) => address.to_ipv6_mapped(),
                        IpAddr::V6(address) => address,
                    };
                    header.put(&address.octets());
                }
            }
        }
        header.put(&client.port().to_be_bytes());
        header.put(&destination.port().to_be_bytes());
        header
    }

    /// As it is sent.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }

    fn begin(&mut self, family: u8, transport: Transport, addresses: u8) {
        let transport = match transport {
            Transport::Stream => 1,
            Transport::Datagram => 2,
        };
        self.put(v2::SIGNATURE);
        self.put(&[v2::PROXY, family << 4 | transport, 0, addresses]);
    }

    fn put(&mut self, more: &[u8]) {
        if let Some(room) = self.bytes.get_mut(self.length..self.length + more.len()) {
            room.copy_from_slice(more);
            self.length += more.len();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    fn check(bytes: &[u8], expected: Read) {
        assert_eq!(read(bytes), expected, "{:?}", std::string::String::from_utf8_lossy(bytes));
    }

    #[test]
    fn what_is_written_is_read() {
        for (client, destination, told) in [
            ("192.0.2.1:1025", "198.51.100.1:443", ("192.0.2.1:1025", "198.51.100.1:443")),
            ("[::ffff:192.0.2.1]:1025", "[::ffff:198.51.100.1]:443", ("192.0.2.1:1025", "198.51.100.1:443")),
            ("[2001:db8::1]:65535", "[2001:db8::2]:1", ("[2001:db8::1]:65535", "[2001:db8::2]:1")),
            ("192.0.2.1:7", "[2001:db8::2]:1", ("192.0.2.1:7", "[2001:db8::2]:1")),
        ] {
            let header = Header::of(Transport::Stream, address(client), address(destination));
            let length = header.bytes().len();
            let (client, destination) = (address(told.0), address(told.1));
            let longer = [header.bytes(), b"GET /"].concat();
            check(&longer, Read::Header(length, Some((client, destination))));
            for short in 0..length {
                check(&header.bytes()[..short], Read::Incomplete);
            }
        }
    }

    #[test]
    fn the_bytes_of_the_specification() {
        let header = Header::of(Transport::Datagram, address("192.0.2.1:258"), address("198.51.100.9:772"));
        let expected = b"\r\n\r\n\0\r\nQUIT\n\x21\x12\0\x0c\xc0\0\x02\x01\xc6\x33\x64\x09\x01\x02\x03\x04";
        assert_eq!(header.bytes(), expected);
    }

    #[test]
    fn version_one() {
        let told = |length, one, other| Read::Header(length, Some((address(one), address(other))));
        check(
            b"PROXY TCP4 192.0.2.1 198.51.100.1 1025 443\r\nGET",
            told(44, "192.0.2.1:1025", "198.51.100.1:443"),
        );
        check(b"PROXY TCP6 2001:db8::1 2001:db8::2 1 2\r\n", told(40, "[2001:db8::1]:1", "[2001:db8::2]:2"));
        check(b"PROXY UNKNOWN\r\n", Read::Header(15, None));
        check(b"PROXY UNKNOWN ff whatever\r\n", Read::Header(27, None));
        check(b"PROXY TCP4 192.0.2.1 198.51.100.1 1025 443", Read::Incomplete);
        check(b"PRO", Read::Incomplete);
        check(b"", Read::Incomplete);
        for bad in [
            &b"GET / HTTP/1.1\r\n"[..],
            b"PROXY TCP4 192.0.2.1 198.51.100.1 1025\r\n",
            b"PROXY TCP4 192.0.2.1 198.51.100.1 1025 443 7\r\n",
            b"PROXY TCP4 2001:db8::1 2001:db8::2 1 2\r\n",
            b"PROXY TCP4 192.0.2.1 198.51.100.1 65536 443\r\n",
            b"PROXY TCP4 192.0.2.1 198.51.100.1 +1 443\r\n",
            b"PROXY TCP5 192.0.2.1 198.51.100.1 1 443\r\n",
            b"PROXY\r\n",
            &[b"PROXY UNKNOWN ".as_slice(), &[b'x'; 100]].concat(),
        ] {
            check(bad, Read::Bad);
        }
    }

    #[test]
    fn version_two_with_what_is_not_told_here() {
        let check = |command: u8, family: u8, body: &[u8], expected: Read| {
            let length = u16::try_from(body.len()).unwrap().to_be_bytes();
            super::tests::check(&[v2::SIGNATURE, &[command, family], &length, body].concat(), expected);
        };
        check(0x20, 0, b"", Read::Header(16, None));
        check(0x20, 0x11, &[1; 12], Read::Header(28, None));
        check(0x21, 0, &[1; 7], Read::Header(23, None));
        // Extensions stand behind the addresses.
        let body = [&[192, 0, 2, 1, 192, 0, 2, 2, 0, 1, 0, 2][..], b"\x04\0\x01x"].concat();
        let told = (address("192.0.2.1:1"), address("192.0.2.2:2"));
        check(0x21, 0x11, &body, Read::Header(32, Some(told)));
        // Unix sockets have no address that could be told on.
        check(0x21, 0x31, &[0; 216], Read::Header(232, None));
        check(0x21, 0x11, &[0; 11], Read::Bad);
        check(0x22, 0x11, &[0; 12], Read::Bad);
        check(0x11, 0x11, &[0; 12], Read::Bad);
        check(0x21, 0x11, &[0; 5000], Read::Bad);
    }
}
