//! Where endpoints are told by HTTP, and by what names.

use std::fmt;
use std::net::Ipv4Addr;
use std::str::FromStr as _;

use super::value::{Complaint, complain};

/// `https://vps.example:8443`: the beginning of what clients ask for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpdateUrl {
    /// Whether requests come within TLS.
    pub tls: bool,
    /// The server's name, or its IPv4 address.
    pub host: String,
    /// The TCP port.
    pub port: u16,
}

impl fmt::Display for UpdateUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (scheme, usual) = if self.tls { ("https", 443) } else { ("http", 80) };
        write!(f, "{scheme}://{}", self.host)?;
        if self.port == usual { Ok(()) } else { write!(f, ":{}", self.port) }
    }
}

const EXAMPLE: &str = "write it like \"https://vps.example\" or \"https://192.0.2.10:8443\"";

pub(super) fn read(word: &str) -> Result<UpdateUrl, Complaint> {
    let (tls, rest) = scheme(word)?;
    if let Some((_, path)) = rest.split_once('/') {
        let help = format!("end it before the `/`: the path is always /nic/update; {EXAMPLE}");
        return complain(format!("`{word}` has the path `/{path}`"), help);
    }
    let (host, port) = match rest.rsplit_once(':') {
        // A colon within an address in brackets begins no port.
        Some((host, port)) if !port.contains(']') => (host, Some(port)),
        Some(_) | None => (rest, None),
    };
    let port = match port.map(u16::from_str) {
        None => Some(if tls { 443 } else { 80 }),
        Some(port) => port.ok().filter(|port| *port > 0),
    };
    let Some(port) = port else { return complain(format!("`{word}` has no port from 1 to 65535"), EXAMPLE) };
    if host.starts_with('[') {
        let help = "write the server's IPv4 address, or its name: who has no IPv6 yet tells where it is";
        return complain(format!("`{host}` is no IPv4 address"), help);
    }
    if !is_host(host) {
        return complain(format!("`{host}` is neither a name nor an IPv4 address of a server"), EXAMPLE);
    }
    Ok(UpdateUrl { tls, host: host.into(), port })
}

/// Whether requests come within TLS.
pub(super) fn is_secured(word: &str) -> Result<bool, Complaint> {
    scheme(word).map(|(tls, _)| tls)
}

/// Whether it is https, and what comes after that.
fn scheme(word: &str) -> Result<(bool, &str), Complaint> {
    match word.split_once("://") {
        Some(("https", rest)) => Ok((true, rest)),
        Some(("http", rest)) => Ok((false, rest)),
        Some(_) | None => complain(format!("`{word}` begins with neither https:// nor http://"), EXAMPLE),
    }
}

/// A name of letters, digits, `-` and `.`, or an IPv4 address that can be a server's.
fn is_host(host: &str) -> bool {
    if let Ok(address) = Ipv4Addr::from_str(host) {
        let other = address.is_unspecified() || address.is_loopback() || address.is_link_local();
        return !(other || address.is_multicast() || address.is_broadcast());
    }
    let label = |label: &str| {
        let legal = label.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
        (1..=63).contains(&label.len()) && legal && !label.starts_with('-') && !label.ends_with('-')
    };
    // What ends in a number is taken for an address (WHATWG URL, "ends in a number").
    let number = host.rsplit('.').next().is_some_and(|last| last.chars().all(|c| c.is_ascii_digit()));
    host.len() <= 253 && host.split('.').all(label) && !number
}

/// A user, as clients write it before the colon of basic authentication (RFC 7617 §2).
pub(super) fn user(word: &str) -> Result<String, Complaint> {
    let legal = (1..=64).contains(&word.len()) && word.chars().all(|c| c.is_ascii_graphic() && c != ':');
    if legal {
        return Ok(word.into());
    }
    complain(format!("`{word}` is no user's name"), "write 1 to 64 visible characters of ASCII without `:`")
}

/// What a client calls its tunnel: it stands in a URL, and several are divided by commas.
pub(super) fn hostname(word: &str) -> Result<String, Complaint> {
    let legal = (1..=253).contains(&word.len())
        && word.chars().all(|c| c.is_ascii_alphanumeric() || ['-', '.', '_'].contains(&c));
    if legal {
        return Ok(word.into());
    }
    complain(format!("`{word}` is no tunnel's name"), "write letters, digits, `-`, `_` and `.`")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls() {
        let check = |word: &str, expected: Option<(bool, &str, u16)>| {
            let expected = expected.map(|(tls, host, port)| UpdateUrl { tls, host: host.into(), port });
            assert_eq!(read(word).ok(), expected, "{word}");
        };
        check("https://vps.example", Some((true, "vps.example", 443)));
        check("http://192.0.2.10", Some((false, "192.0.2.10", 80)));
        check("https://192.0.2.10:8443", Some((true, "192.0.2.10", 8443)));
        for wrong in [
            "https://[2001:db8::1]:81",
            "http://127.0.0.1",
            "http://0.0.0.0",
            "http://256.1.1.1",
            "http://-x",
        ] {
            check(wrong, None);
        }
        for wrong in ["", "vps.example", "ftp://vps", "https://", "https://vps/", "https://vps/nic/update"] {
            check(wrong, None);
        }
        for wrong in ["https://vps:0", "https://vps:65536", "https://vps:x", "https://a b", "https://[::1"] {
            check(wrong, None);
        }
        check("https://user@vps", None);
    }

    #[test]
    fn they_are_told_as_they_are_written() {
        for word in ["https://vps.example", "http://192.0.2.10", "http://a:443"] {
            assert_eq!(read(word).unwrap().to_string(), word);
        }
        assert_eq!(read("https://a:443").unwrap().to_string(), "https://a");
    }
}
