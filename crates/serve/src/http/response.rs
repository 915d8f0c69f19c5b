//! What is answered.

use std::net::IpAddr;

use super::Reason;

/// The body's one line about one tunnel, or about the whole request: a word, and for some the address.
pub(super) fn line(reason: Reason, address: Option<IpAddr>) -> String {
    let word = match reason {
        Reason::Accepted => "good",
        Reason::Unchanged => "nochg",
        Reason::NoCredentials | Reason::WrongCredentials => "badauth",
        Reason::UnknownHost => "nohost",
        Reason::NoHost => "notfqdn",
        Reason::TooManyHosts => "numhost",
        Reason::UnsuitableAddress => "badip",
        Reason::TunnelRateLimited | Reason::RateLimited | Reason::ConnectionLimited => "abuse",
        // A HEAD is answered without a body, and so are the others.
        Reason::Method => return String::new(),
        Reason::NotFound
        | Reason::Malformed
        | Reason::TooLong
        | Reason::TimedOut
        | Reason::CutShort
        | Reason::Handshake => "911",
    };
    address.map_or_else(|| format!("{word}\n"), |address| format!("{word} {address}\n"))
}

/// The whole response with this body.
pub(super) fn response(reason: Reason, body: &str) -> String {
    let (status, field) = status(reason);
    let length = body.len();
    format!(
        "HTTP/1.1 {status}\r\n\
        Content-Type: text/plain\r\n\
        Content-Length: {length}\r\n\
        Cache-Control: no-store\r\n\
        Connection: close\r\n\
        {field}\r\n{body}"
    )
}

/// Status, and the header field that goes with it.
fn status(reason: Reason) -> (&'static str, &'static str) {
    match reason {
        Reason::NoCredentials => {
            ("401 Unauthorized", "WWW-Authenticate: Basic realm=\"straddle\", charset=\"UTF-8\"\r\n")
        }
        Reason::Method => ("405 Method Not Allowed", "Allow: GET\r\n"),
        Reason::NotFound => ("404 Not Found", ""),
        Reason::TooLong => ("431 Request Header Fields Too Large", ""),
        // Of these only the first is ever answered.
        Reason::Malformed | Reason::TimedOut | Reason::CutShort | Reason::Handshake => {
            ("400 Bad Request", "")
        }
        Reason::Accepted
        | Reason::Unchanged
        | Reason::WrongCredentials
        | Reason::UnknownHost
        | Reason::NoHost
        | Reason::TooManyHosts
        | Reason::UnsuitableAddress
        | Reason::TunnelRateLimited
        | Reason::RateLimited
        | Reason::ConnectionLimited => ("200 OK", ""),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines() {
        let address = Some("192.0.2.1".parse().unwrap());
        assert_eq!(line(Reason::Accepted, address), "good 192.0.2.1\n");
        assert_eq!(line(Reason::NoHost, None), "notfqdn\n");
    }

    #[test]
    fn whole_responses() {
        let check = |reason: Reason, head: &str, field: &str| {
            let text = response(reason, "word\n");
            assert!(text.starts_with(&format!("HTTP/1.1 {head}\r\n")), "{text}");
            assert!(text.contains("\r\nContent-Length: 5\r\n") && text.ends_with("\r\n\r\nword\n"), "{text}");
            assert!(text.contains(field), "{text}");
        };
        check(Reason::Accepted, "200 OK", "\r\nConnection: close\r\n");
        check(Reason::NoCredentials, "401 Unauthorized", "\r\nWWW-Authenticate: Basic realm=");
        check(Reason::WrongCredentials, "200 OK", "\r\n");
        check(Reason::Method, "405 Method Not Allowed", "\r\nAllow: GET\r\n");
    }
}
