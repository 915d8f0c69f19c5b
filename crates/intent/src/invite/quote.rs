//! Words out of the file, which may hold almost any character, so that no reader takes them for more.

/// For a comment: what would end its line, or move a terminal's cursor, is spelt out.
pub(super) fn comment(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        if c.is_control() { out.extend(c.escape_unicode()) } else { out.push(c) }
    }
    out
}

/// One word of a shell (POSIX, 2.2.2).
pub(super) fn shell(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:@%+,=".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.into();
    }
    format!("'{}'", word.replace('\'', "'\\''"))
}

/// A string in double quotes, as TOML and YAML both read it.
pub(super) fn double(text: &str) -> String {
    let mut out = String::from('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            // U+0085, U+2028 and U+2029 end a line of YAML.
            c if c.is_control() || matches!(c, '\u{2028}' | '\u{2029}') => {
                out.push_str(&format!("\\u{:04x}", u32::from(c)));
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// A key of TOML: bare where it can be.
pub(super) fn key(text: &str) -> String {
    let bare = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if !text.is_empty() && text.chars().all(bare) { text.into() } else { double(text) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words() {
        let check = |word: &str, expected: [&str; 4]| {
            assert_eq!([comment(word), shell(word), double(word), key(word)], expected, "{word:?}");
        };
        check("eth0", ["eth0", "eth0", "\"eth0\"", "eth0"]);
        check("", ["", "''", "\"\"", "\"\""]);
        check("a b", ["a b", "'a b'", "\"a b\"", "\"a b\""]);
        check("it's", ["it's", "'it'\\''s'", "\"it's\"", "\"it's\""]);
        check("$(x)", ["$(x)", "'$(x)'", "\"$(x)\"", "\"$(x)\""]);
        check("\\\"", ["\\\"", "'\\\"'", "\"\\\\\\\"\"", "\"\\\\\\\"\""]);
        check("a\nb", ["a\\u{a}b", "'a\nb'", "\"a\\u000ab\"", "\"a\\u000ab\""]);
        check(
            "\u{7f}\u{2028}",
            ["\\u{7f}\u{2028}", "'\u{7f}\u{2028}'", "\"\\u007f\\u2028\"", "\"\\u007f\\u2028\""],
        );
    }
}
