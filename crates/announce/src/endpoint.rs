//! Endpoints: which address a carrier can have, and how it stands in a message.

use core::net::IpAddr;

/// Whether a carrier can have this address as an endpoint: neither unspecified, loopback, link-local, multicast,
/// broadcast nor reserved. A link-local address means nothing on the server's side, and the others are no host's.
#[must_use]
pub const fn is_suitable(endpoint: IpAddr) -> bool {
    match endpoint {
        IpAddr::V4(v4) => {
            let [first, ..] = v4.octets();
            !(first == 0 || v4.is_loopback() || v4.is_link_local() || v4.is_multicast() || first >= 240)
        }
        IpAddr::V6(v6) => {
            let mapped = v6.to_ipv4_mapped().is_some();
            !(mapped
                || v6.is_unspecified()
                || v6.is_loopback()
                || v6.is_unicast_link_local()
                || v6.is_multicast())
        }
    }
}

/// As 16 bytes: an IPv4 address is mapped.
pub(crate) const fn to_bytes(endpoint: IpAddr) -> [u8; 16] {
    match endpoint {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
        IpAddr::V6(v6) => v6.octets(),
    }
}

/// The address of such bytes.
pub(crate) fn from_bytes(bytes: [u8; 16]) -> IpAddr {
    IpAddr::V6(bytes.into()).to_canonical()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_carrier_can_have() {
        let check = |text: &str, suitable: bool| {
            let endpoint: IpAddr = text.parse().unwrap();
            assert_eq!(is_suitable(endpoint), suitable, "{text}");
        };
        check("2001:db8::1", true);
        check("fd00::1", true);
        check("54a0:6231:d015:6ef9:231:201:224:144", true);
        check("192.0.2.1", true);
        check("10.0.0.1", true);
        check("100.64.0.1", true);
        check("239.255.255.255", false);
        check("240.0.0.1", false);
        check("255.255.255.255", false);
        check("224.0.0.1", false);
        check("127.0.0.1", false);
        check("169.254.1.2", false);
        check("0.0.0.0", false);
        check("0.1.2.3", false);
        check("::", false);
        check("::1", false);
        check("fe80::1", false);
        check("febf::1", false);
        check("ff02::1", false);
        check("::ffff:192.0.2.1", false);
    }

    #[test]
    fn there_and_back() {
        let check = |text: &str| {
            let endpoint: IpAddr = text.parse().unwrap();
            assert_eq!(from_bytes(to_bytes(endpoint)), endpoint, "{text}");
        };
        check("192.0.2.1");
        check("0.0.0.0");
        check("2001:db8::1");
        check("::");
        check("::1");
        check("::192.0.2.1");
    }
}
