//! Which of a name's addresses are tried, and in which order.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use ipnet::IpNet;

/// Addresses that are tried at most.
const MOST: usize = 8;

/// The addresses of a name, as the resolver orders them, in the order in which they are tried: IPv6 first, then
/// the families in turn (RFC 8305 §4). Private ones are left out unless they are listed: whoever
/// answers for a name could else lead the relay's clients to what only this host reaches.
pub(super) fn ordered(found: &[SocketAddr], private: &[IpNet]) -> Vec<SocketAddr> {
    let listed = |ip: IpAddr| private.iter().any(|net| net.contains(&ip));
    let mut six = Vec::new();
    let mut four = Vec::new();
    for address in found {
        let ip = address.ip().to_canonical();
        let address = SocketAddr::new(ip, address.port());
        let list = if ip.is_ipv6() { &mut six } else { &mut four };
        if (listed(ip) || is_public(ip)) && !list.contains(&address) {
            list.push(address);
        }
    }
    let turns = six.len().max(four.len());
    let pairs = (0..turns).flat_map(|turn| [six.get(turn), four.get(turn)]);
    pairs.flatten().copied().take(MOST).collect()
}

/// Whether everybody on the internet means the same host by it (RFC 6890).
fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public4(address),
        IpAddr::V6(address) => embedded4(address).map_or_else(|| is_public6(address), is_public4),
    }
}

fn is_public4(address: Ipv4Addr) -> bool {
    let [a, b, ..] = address.octets();
    let shared = a == 100 && (64..128).contains(&b);
    !(a == 0
        || a >= 240
        || shared
        || address.is_private()
        || address.is_loopback()
        || address.is_link_local()
        || address.is_multicast())
}

fn is_public6(address: Ipv6Addr) -> bool {
    !(address.is_unspecified()
        || address.is_loopback()
        || address.is_unique_local()
        || address.is_unicast_link_local()
        || address.is_multicast())
}

/// The IPv4 address that is reached by it: through a NAT64 (RFC 6052, RFC 8215) or 6to4 (RFC 3056).
fn embedded4(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let groups = address.segments();
    let join = |high: u16, low: u16| Some(Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low)));
    match groups {
        [0x64, 0xff9b, 0 | 1, .., high, low] => join(high, low),
        [0x2002, high, low, ..] => join(high, low),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_in_turn_and_nothing_private() {
        let check = |found: &str, private: &str, expected: &str| {
            let found: Vec<SocketAddr> =
                found.split_whitespace().map(|ip| SocketAddr::new(ip.parse().unwrap(), 443)).collect();
            let private: Vec<IpNet> = private.split_whitespace().map(|net| net.parse().unwrap()).collect();
            let ordered = ordered(&found, &private).iter().map(|a| a.ip().to_string()).collect::<Vec<_>>();
            assert_eq!(ordered.join(" "), expected, "{found:?}");
        };
        check("", "", "");
        check("192.0.2.1 192.0.2.2 2001:db8::1", "", "2001:db8::1 192.0.2.1 192.0.2.2");
        check("2001:db8::1 2001:db8::1 ::ffff:192.0.2.1", "", "2001:db8::1 192.0.2.1");
        check("10.0.0.1 127.0.0.1 169.254.1.1 100.64.0.1 192.0.2.1", "", "192.0.2.1");
        check("::1 fd00::1 fe80::1 ff02::1 ::", "", "");
        check("64:ff9b::10.0.0.1 64:ff9b::192.0.2.1 2002:a00:1::1", "", "64:ff9b::c000:201");
        check("10.0.0.1 10.1.0.1 fd00::1", "10.0.0.0/16 fd00::/8", "fd00::1 10.0.0.1");
        check("::ffff:10.0.0.1", "", "");
    }
}
