//! Bytes to a request.

use base64ct::{Base64, Encoding as _};
use httparse::{EMPTY_HEADER, Error, Header, Status};

use super::Reason;

/// Bytes that a request may have at most, up to its empty line.
pub(super) const LONGEST: usize = 8192;
/// Header fields that it may have at most.
const FIELDS: usize = 64;
/// The one thing that can be asked for.
const PATH: &str = "/nic/update";

/// An update, as it was asked for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Request {
    /// What stands behind the question mark.
    pub(super) query: String,
    /// `user:key`, where it came as basic authentication (RFC 7617).
    pub(super) credentials: Option<Vec<u8>>,
}

/// Reads a request; none is there yet while bytes are missing. What stands behind it is not looked at: a
/// connection has one.
///
/// # Errors
/// Why it is none for us.
pub(super) fn parse(bytes: &[u8]) -> Result<Option<Request>, Reason> {
    let mut fields = [EMPTY_HEADER; FIELDS];
    let mut request = httparse::Request::new(&mut fields);
    match request.parse(bytes.get(..LONGEST).unwrap_or(bytes)) {
        Ok(Status::Complete(_)) => {}
        Ok(Status::Partial) if bytes.len() >= LONGEST => return Err(Reason::TooLong),
        Ok(Status::Partial) => return Ok(None),
        Err(Error::TooManyHeaders) => return Err(Reason::TooLong),
        Err(
            Error::HeaderName
            | Error::HeaderValue
            | Error::NewLine
            | Error::Status
            | Error::Token
            | Error::Version,
        ) => return Err(Reason::Malformed),
    }
    // From HTTP/1.1 on there is a host, and one alone (RFC 9112 §3.2).
    let hosts = named(request.headers, "host").count();
    if hosts > 1 || hosts == 0 && request.version != Some(0) {
        return Err(Reason::Malformed);
    }
    if request.method != Some("GET") {
        return Err(Reason::Method);
    }
    let target = origin(request.path.unwrap_or_default());
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    if path != PATH {
        return Err(Reason::NotFound);
    }
    let credentials = named(request.headers, "authorization").next().and_then(basic);
    Ok(Some(Request { query: query.into(), credentials }))
}

fn named<'a>(fields: &'a [Header<'_>], name: &'a str) -> impl Iterator<Item = &'a [u8]> {
    fields.iter().filter(move |field| field.name.eq_ignore_ascii_case(name)).map(|field| field.value)
}

/// Without scheme and host, which stand before what is asked of a proxy (RFC 9112 §3.2.2).
fn origin(target: &str) -> &str {
    let bare = target.strip_prefix("http://").or_else(|| target.strip_prefix("https://"));
    bare.map_or(target, |bare| bare.find('/').and_then(|at| bare.get(at..)).unwrap_or("/"))
}

fn basic(value: &[u8]) -> Option<Vec<u8>> {
    let (scheme, rest) = std::str::from_utf8(value).ok()?.split_once(' ')?;
    if scheme.eq_ignore_ascii_case("basic") { Base64::decode_vec(rest.trim()).ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: Result<Option<(&str, Option<&str>)>, Reason>) {
        let expected = expected.map(|request| {
            request.map(|(query, credentials)| Request {
                query: query.into(),
                credentials: credentials.map(|credentials| credentials.as_bytes().to_vec()),
            })
        });
        assert_eq!(parse(text.as_bytes()), expected, "{text:?}");
    }

    #[test]
    fn requests() {
        let host = "Host: broker\r\n";
        let credentials = "Authorization: Basic dXNlcjprZXk=\r\n";
        check(
            &format!("GET /nic/update?hostname=a&myip=192.0.2.1 HTTP/1.1\r\n{host}{credentials}\r\n"),
            Ok(Some(("hostname=a&myip=192.0.2.1", Some("user:key")))),
        );
        check(&format!("GET /nic/update HTTP/1.1\r\n{host}\r\n"), Ok(Some(("", None))));
        check("GET /nic/update?a HTTP/1.0\r\n\r\n", Ok(Some(("a", None))));
        // Ended by line feeds alone, as some clients do (RFC 9112 §2.2).
        let bare = "GET /nic/update?a HTTP/1.0\nAuthorization: Basic dXNlcjprZXk=\n\n";
        check(bare, Ok(Some(("a", Some("user:key")))));
        check(&format!("GET http://broker/nic/update?a HTTP/1.1\r\n{host}\r\n"), Ok(Some(("a", None))));
        check(&format!("GET https://broker HTTP/1.1\r\n{host}\r\n"), Err(Reason::NotFound));
        // Whatever is behind the first is left alone.
        check(
            &format!("GET /nic/update?a HTTP/1.1\r\n{host}\r\nGET /nic/update?b HTTP/1.1\r\n{host}\r\n"),
            Ok(Some(("a", None))),
        );
    }

    #[test]
    fn authorization() {
        let with = |value: &str, expected: Option<&str>| {
            let text = format!("GET /nic/update HTTP/1.0\r\nauthorization: {value}\r\n\r\n");
            check(&text, Ok(Some(("", expected))));
        };
        with("Basic dXNlcjprZXk=", Some("user:key"));
        with("basic dXNlcjprZXk=", Some("user:key"));
        with("Basic  dXNlcjprZXk= ", Some("user:key"));
        with("Basic", None);
        with("Basic ", None);
        with("Basic dXNlcjprZXk", None);
        with("Basic ????", None);
        with("Bearer dXNlcjprZXk=", None);
        with("", None);
    }

    #[test]
    fn what_is_refused() {
        for begun in ["", "G", "GET /nic/update", "GET /nic/update HTTP/1.1\r\nHost: broker\r\n"] {
            check(begun, Ok(None));
        }
        check("HEAD /nic/update HTTP/1.0\r\n\r\n", Err(Reason::Method));
        check("POST /nic/update HTTP/1.0\r\nContent-Length: 2\r\n\r\n", Err(Reason::Method));
        check("GET / HTTP/1.0\r\n\r\n", Err(Reason::NotFound));
        check("GET /nic/updates HTTP/1.0\r\n\r\n", Err(Reason::NotFound));
        check("GET /nic/update/ HTTP/1.0\r\n\r\n", Err(Reason::NotFound));
        check("GET /nic/update HTTP/1.1\r\n\r\n", Err(Reason::Malformed));
        check("GET /nic/update HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", Err(Reason::Malformed));
        check("GET /nic/update HTTP/2.0\r\n\r\n", Err(Reason::Malformed));
        check("GET /nic/update\r\n\r\n", Err(Reason::Malformed));
        check("\x16\x03\x01\x02\x00\x01\x00\x01", Err(Reason::Malformed));
        check("GET /nic/update HTTP/1.0\r\nno colon\r\n\r\n", Err(Reason::Malformed));
        check(&format!("GET /{} HTTP/1.0\r\n\r\n", "a".repeat(LONGEST)), Err(Reason::TooLong));
        check(&"GET".repeat(LONGEST), Err(Reason::TooLong));
        check(&format!("GET / HTTP/1.0\r\n{}\r\n", "a: b\r\n".repeat(FIELDS + 1)), Err(Reason::TooLong));
    }
}
