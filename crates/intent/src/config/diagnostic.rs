use std::ops::Range;

/// One mistake of the file: where it is, what is wrong, what to write instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// The offending text, in bytes from the start of the file.
    pub span: Range<usize>,
    /// What is wrong with it, one sentence without a full stop.
    pub message: String,
    /// What to write instead.
    pub help: String,
}

impl Diagnostic {
    pub(crate) fn new(span: Range<usize>, message: impl Into<String>, help: impl Into<String>) -> Self {
        Diagnostic { span, message: message.into(), help: help.into() }
    }

    pub(crate) fn from_syntax(error: &toml::de::Error) -> Self {
        let message = error.message().replace('\n', ", ");
        let help = match message.as_str() {
            m if m.contains("duplicate key") => "keep one of the two",
            m if m.contains("string") || m.contains("quote") => {
                "put the value in double quotes: \"…\"; true, false and numbers stand without"
            }
            m if m.contains("key with no value") || m.contains("`=`") => "write KEY = \"VALUE\"",
            _ => "each line is [SECTION], [[SECTION]] or KEY = \"VALUE\" (TOML)",
        };
        Diagnostic::new(error.span().unwrap_or(0..0), message, help)
    }

    /// Line and column (both from 1, the column in characters) of the offending text.
    pub fn position(&self, text: &str) -> (usize, usize) {
        let start =
            (0..=self.span.start.min(text.len())).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0);
        let before = text.get(..start).unwrap_or("");
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or("").chars().count() + 1;
        (line, column)
    }
}
