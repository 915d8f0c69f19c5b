//! The resolvers that a host asks: resolv.conf(5).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};

use rustix::net::{AddressFamily, SocketType, netdevice, socket};

/// The port of DNS (RFC 1035 §4.2).
const PORT: u16 = 53;
/// Those asked where the file names none: the local ones.
const LOCAL: [SocketAddr; 2] = [
    SocketAddr::new(IpAddr::V6(Ipv6Addr::LOCALHOST), PORT),
    SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), PORT),
];

/// The resolvers of this host. A file that can't be read names none.
#[must_use]
pub fn of_this_host() -> Vec<SocketAddr> {
    let text = std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
    let asking = socket(AddressFamily::INET6, SocketType::DGRAM, None);
    resolvers(&text, |dev| netdevice::name_to_index(asking.as_ref().ok()?, dev).ok())
}

/// The resolvers that the text of a resolv.conf(5) names, each once, in order. `index` knows the number of a
/// device by its name; a link-local resolver of a device that there is not is left out.
pub fn resolvers(text: &str, index: impl Fn(&str) -> Option<u32>) -> Vec<SocketAddr> {
    let mut found = Vec::new();
    for line in text.lines() {
        let mut words = line.split_whitespace();
        if words.next() == Some("nameserver")
            && let Some(resolver) = words.next().and_then(|word| resolver(word, &index))
            && !found.contains(&resolver)
        {
            found.push(resolver);
        }
    }
    if found.is_empty() { LOCAL.to_vec() } else { found }
}

/// `ADDRESS` or `ADDRESS%DEVICE`, where the device may be its number.
fn resolver(word: &str, index: impl Fn(&str) -> Option<u32>) -> Option<SocketAddr> {
    let Some((address, dev)) = word.split_once('%') else {
        return Some(SocketAddr::new(word.parse().ok()?, PORT));
    };
    let scope = dev.parse().ok().or_else(|| index(dev))?;
    Some(SocketAddrV6::new(address.parse().ok()?, PORT, 0, scope).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_text_names() {
        let check = |text: &str, expected: &[&str]| {
            let index = |dev: &str| (dev == "eth0").then_some(7);
            let expected: Vec<SocketAddr> = expected.iter().map(|word| word.parse().unwrap()).collect();
            assert_eq!(resolvers(text, index), expected, "{text:?}");
        };
        check("nameserver 2001:db8::53\n", &["[2001:db8::53]:53"]);
        check("nameserver 2001:db8::53", &["[2001:db8::53]:53"]);
        check("nameserver 127.0.0.53\noptions edns0 trust-ad\nsearch .\n", &["127.0.0.53:53"]);
        check("nameserver ::1\nnameserver 192.0.2.53\n", &["[::1]:53", "192.0.2.53:53"]);
        check("nameserver\t 2001:db8::53  \n", &["[2001:db8::53]:53"]);
        check("nameserver 2001:db8::53 # the first\n", &["[2001:db8::53]:53"]);
        check("nameserver 2001:db8::53\nnameserver 2001:db8::53\n", &["[2001:db8::53]:53"]);
        check("nameserver fe80::1%eth0\n", &["[fe80::1%7]:53"]);
        check("nameserver fe80::1%9\n", &["[fe80::1%9]:53"]);
        check("nameserver fe80::1%eth1\nnameserver ::1\n", &["[::1]:53"]);
        check("nameserver fe80::1%\nnameserver ::1\n", &["[::1]:53"]);
        check("nameserver 192.0.2.1%eth0\nnameserver ::1\n", &["[::1]:53"]);
        check("nameserver nonsense\nnameserver\nnameserver ::1\n", &["[::1]:53"]);
        check("# nameserver 2001:db8::53\n;nameserver 2001:db8::53\nnameserver ::1\n", &["[::1]:53"]);
        check("nameservers 2001:db8::53\nnameserver ::1\n", &["[::1]:53"]);
        check("", &["[::1]:53", "127.0.0.1:53"]);
        check("search example.net\n", &["[::1]:53", "127.0.0.1:53"]);
    }
}
