//! What stands behind the question mark.

/// The first value of a parameter, decoded; none where there is no such parameter, or its value is no text.
pub(super) fn parameter(query: &str, name: &str) -> Option<String> {
    let pairs = query.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    pairs.filter(|(key, _)| decoded(key).as_deref() == Some(name)).map(|(_, value)| decoded(value)).next()?
}

/// Percent-encoded bytes and plus signs are what they stand for (the URL standard, §5.1).
fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, behind @ ..] = rest {
        rest = behind;
        bytes.push(match (first, behind) {
            (b'+', _) => b' ',
            (b'%', [high, low, behind @ ..]) => {
                rest = behind;
                digit(*high)? << 4 | digit(*low)?
            }
            (b'%', _) => return None,
            (other, _) => *other,
        });
    }
    String::from_utf8(bytes).ok()
}

fn digit(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters() {
        let check = |query: &str, expected: Option<&str>| {
            assert_eq!(parameter(query, "hostname").as_deref(), expected, "{query}");
        };
        check("hostname=a", Some("a"));
        check("system=dyndns&hostname=a&myip=192.0.2.1", Some("a"));
        check("hostname=a&hostname=b", Some("a"));
        check("hostname=", Some(""));
        check("hostname", Some(""));
        check("hostname=a=b", Some("a=b"));
        check("hostname=a+b%20c%2Bd%c3%a4", Some("a b c+dä"));
        check("host%6eame=a", Some("a"));
        check("Hostname=a", None);
        check("myhostname=a", None);
        check("", None);
        check("hostname=%", None);
        check("hostname=%4", None);
        check("hostname=%4g", None);
        check("hostname=%ff", None);
    }
}
