//! Reading one table of the file: known keys, required keys, typed values.

use std::ops::{Range, RangeInclusive};

use toml::de::{DeTable, DeValue};

use super::value::{self, Complaint};
use super::{Diagnostic, Spanned};

/// Collects the diagnostics of a whole file.
pub(super) struct Reader {
    found: Vec<Diagnostic>,
    /// How many of them are the parser's own.
    syntax: usize,
}

impl Reader {
    pub(super) fn new(found: Vec<Diagnostic>) -> Self {
        Reader { syntax: found.len(), found }
    }

    pub(super) fn add(&mut self, span: Range<usize>, message: impl Into<String>, help: impl Into<String>) {
        // Where the text itself can't be read, what was made of it says nothing.
        let unreadable = self.found.iter().take(self.syntax).any(|known| known.span.start == span.start);
        if !unreadable {
            self.found.push(Diagnostic::new(span, message, help));
        }
    }

    pub(super) fn clean(&self) -> bool {
        self.found.is_empty()
    }

    pub(super) fn finish(self) -> Vec<Diagnostic> {
        self.found
    }
}

/// One table under its heading.
pub(super) struct Section<'a> {
    title: String,
    pub(super) span: Range<usize>,
    fields: &'a DeTable<'a>,
    known: &'a [&'a str],
}

impl<'a> Section<'a> {
    /// The table's fields; every key must be one of `known`.
    pub(super) fn read(
        reader: &mut Reader,
        title: String,
        span: Range<usize>,
        fields: &'a DeTable<'a>,
        known: &'a [&'a str],
    ) -> Self {
        let section = Section { title, span, fields, known };
        section.refuse_unknown(reader);
        section
    }

    /// The keys that stand in it; of a misspelt one, which has its diagnostic, the one that was probably meant.
    pub(super) fn keys(&self) -> Vec<String> {
        let words = self.fields.keys().map(|key| -> &str { key.get_ref() });
        let meant = |word| if self.known.contains(&word) { None } else { likeliest(word, self.known) };
        words.map(|word| meant(word).unwrap_or(word).to_string()).collect()
    }

    fn refuse_unknown(&self, reader: &mut Reader) {
        for (key, _) in self.fields.iter() {
            let word: &str = key.get_ref();
            if !self.known.contains(&word) {
                let message = format!("{} has no key `{word}`", self.title);
                reader.add(key.span(), message, suggestion(word, self.known));
            }
        }
    }

    /// Whether an unknown key is this one, misspelt: that has its diagnostic.
    fn misspelt(&self, key: &str) -> bool {
        let unknown = self.fields.keys().filter(|word| !self.known.contains(&&**word.get_ref()));
        unknown.into_iter().any(|word| likeliest(word.get_ref(), self.known) == Some(key))
    }

    /// A key that must be there; `example` is what a line with it looks like.
    pub(super) fn required<T>(
        &self,
        reader: &mut Reader,
        key: &str,
        example: &str,
        parse: fn(&str) -> Result<T, Complaint>,
    ) -> Option<Spanned<T>> {
        if !self.fields.contains_key(key) && !self.misspelt(key) {
            reader.add(
                self.span.clone(),
                format!("{} lacks `{key}`", self.title),
                format!("add {key} = {example}"),
            );
        }
        self.optional(reader, key, parse)
    }

    /// A key that may be there, written as a string.
    pub(super) fn optional<T>(
        &self,
        reader: &mut Reader,
        key: &str,
        parse: fn(&str) -> Result<T, Complaint>,
    ) -> Option<Spanned<T>> {
        let word = self.string(reader, key, "write it in double quotes: \"…\"")?;
        accept(reader, word.span, parse(word.value))
    }

    /// A key with one of these words.
    pub(super) fn choice<T: Copy>(
        &self,
        reader: &mut Reader,
        key: &str,
        choices: &[(&str, T)],
    ) -> Option<Spanned<T>> {
        let names: Vec<String> = choices.iter().map(|(name, _)| format!("\"{name}\"")).collect();
        let word = self.string(reader, key, &format!("write one of {}", names.join(", ")))?;
        accept(reader, word.span, value::one_of(word.value, choices))
    }

    fn string(&self, reader: &mut Reader, key: &str, help: &str) -> Option<Spanned<&'a str>> {
        let value = self.fields.get(key)?;
        let word = value.get_ref().as_str();
        if word.is_none() {
            let kind = value.get_ref().type_str();
            reader.add(value.span(), format!("`{key}` is {}", article(kind)), help);
        }
        word.map(|word| Spanned { value: word, span: value.span() })
    }

    /// A key with one string or a list of strings.
    pub(super) fn list<T>(
        &self,
        reader: &mut Reader,
        key: &str,
        parse: fn(&str) -> Result<T, Complaint>,
    ) -> Vec<Spanned<T>> {
        let Some(DeValue::Array(items)) = self.fields.get(key).map(toml::Spanned::get_ref) else {
            return self.optional(reader, key, parse).into_iter().collect();
        };
        if items.is_empty() {
            let span = self.fields.get(key).map_or(self.span.clone(), toml::Spanned::span);
            reader.add(span, format!("`{key}` lists nothing"), LIST_OR_NOTHING);
        }
        let mut found = Vec::new();
        for item in items.iter() {
            match item.get_ref().as_str() {
                Some(word) => found.extend(accept(reader, item.span(), parse(word))),
                None => reader.add(
                    item.span(),
                    format!("`{key}` lists strings"),
                    "write each in double quotes: [\"…\", \"…\"]",
                ),
            }
        }
        found
    }

    /// The same with each value once.
    pub(super) fn distinct<T: PartialEq>(
        &self,
        reader: &mut Reader,
        key: &str,
        parse: fn(&str) -> Result<T, Complaint>,
    ) -> Vec<Spanned<T>> {
        let found = self.list(reader, key, parse);
        for (index, one) in found.iter().enumerate() {
            if found.iter().take(index).any(|other| other.value == one.value) {
                let message = format!("`{key}` lists this twice");
                reader.add(one.span.clone(), message, "delete one of the two");
            }
        }
        found
    }

    /// A key with a whole number from `range`.
    pub(super) fn number(
        &self,
        reader: &mut Reader,
        key: &str,
        range: RangeInclusive<u32>,
    ) -> Option<Spanned<u32>> {
        whole(reader, key, self.fields.get(key)?, &range)
    }

    /// A key with a list of whole numbers from `range`.
    pub(super) fn numbers(
        &self,
        reader: &mut Reader,
        key: &str,
        range: RangeInclusive<u32>,
    ) -> Vec<Spanned<u32>> {
        let Some(value) = self.fields.get(key) else { return Vec::new() };
        let Some(items) = value.get_ref().as_array() else {
            let help = format!("write them in brackets: {key} = [1492, 1280]");
            reader.add(value.span(), format!("`{key}` is not a list"), help);
            return Vec::new();
        };
        if items.is_empty() {
            reader.add(value.span(), format!("`{key}` lists nothing"), LIST_OR_NOTHING);
        }
        items.iter().filter_map(|item| whole(reader, key, item, &range)).collect()
    }

    /// A key with a whole number from `range`, or a word of a fixed list.
    pub(super) fn number_or_word(
        &self,
        reader: &mut Reader,
        key: &str,
        range: RangeInclusive<u32>,
        word: &str,
    ) -> Option<Spanned<Option<u32>>> {
        let value = self.fields.get(key)?;
        if value.get_ref().as_integer().is_some() {
            let number = whole(reader, key, value, &range)?;
            return Some(Spanned { value: Some(number.value), span: number.span });
        }
        if value.get_ref().as_str() != Some(word) {
            let help = format!(
                "write \"{word}\", or a whole number from {} to {} without quotes",
                range.start(),
                range.end()
            );
            reader.add(value.span(), format!("`{key}` is neither \"{word}\" nor a number"), help);
            return None;
        }
        Some(Spanned { value: None, span: value.span() })
    }

    /// A key that is true or false.
    pub(super) fn flag(&self, reader: &mut Reader, key: &str) -> Option<Spanned<bool>> {
        let value = self.fields.get(key)?;
        let flag = value.get_ref().as_bool();
        if flag.is_none() {
            let message = format!("`{key}` is neither true nor false");
            reader.add(value.span(), message, "write true or false, without quotes");
        }
        flag.map(|flag| Spanned { value: flag, span: value.span() })
    }

    /// A key with a list of pairs of strings; `example` is what a pair looks like.
    pub(super) fn pairs<T>(
        &self,
        reader: &mut Reader,
        key: &str,
        example: &str,
        parse: fn(&str, &str) -> Result<T, Complaint>,
    ) -> Vec<Spanned<T>> {
        let Some(value) = self.fields.get(key) else { return Vec::new() };
        let help = || format!("write a list of pairs: {key} = [{example}, …]");
        let Some(items) = value.get_ref().as_array() else {
            reader.add(value.span(), format!("`{key}` is not a list"), help());
            return Vec::new();
        };
        if items.is_empty() {
            reader.add(value.span(), format!("`{key}` lists nothing"), LIST_OR_NOTHING);
        }
        let mut found = Vec::new();
        for item in items.iter() {
            let words: Option<Vec<&str>> = item
                .get_ref()
                .as_array()
                .and_then(|pair| pair.iter().map(|word| word.get_ref().as_str()).collect());
            match words.as_deref() {
                Some([one, other]) => found.extend(accept(reader, item.span(), parse(one, other))),
                Some(_) | None => {
                    reader.add(item.span(), format!("`{key}` lists pairs of strings"), help());
                }
            }
        }
        found
    }
}

const LIST_OR_NOTHING: &str = "write at least one, or leave the key out";

fn whole(
    reader: &mut Reader,
    key: &str,
    value: &toml::Spanned<DeValue<'_>>,
    range: &RangeInclusive<u32>,
) -> Option<Spanned<u32>> {
    let number = value.get_ref().as_integer().and_then(|int| {
        u32::from_str_radix(int.as_str(), int.radix()).ok().filter(|number| range.contains(number))
    });
    if number.is_none() {
        let help = format!("write a whole number from {} to {}, without quotes", range.start(), range.end());
        let kind = value.get_ref().type_str();
        let wrong = if kind == "integer" { "is out of its range" } else { "is not a number" };
        reader.add(value.span(), format!("`{key}` {wrong}"), help);
    }
    number.map(|number| Spanned { value: number, span: value.span() })
}

fn accept<T>(reader: &mut Reader, span: Range<usize>, parsed: Result<T, Complaint>) -> Option<Spanned<T>> {
    match parsed {
        Ok(value) => Some(Spanned { value, span }),
        Err(complaint) => {
            reader.add(span, complaint.message, complaint.help);
            None
        }
    }
}

fn article(kind: &str) -> String {
    match kind.chars().next() {
        Some('a' | 'e' | 'i' | 'o' | 'u') => format!("an {kind}, not a string"),
        Some(_) | None => format!("a {kind}, not a string"),
    }
}

/// "write `uplink`", or the list of what there is.
pub(crate) fn suggestion(word: &str, known: &[&str]) -> String {
    match likeliest(word, known) {
        Some(candidate) => format!("write `{candidate}`"),
        None if known.is_empty() => "nothing can stand here".into(),
        None => {
            format!("known are {}", known.iter().map(|k| format!("`{k}`")).collect::<Vec<_>>().join(", "))
        }
    }
}

/// The known word that was probably meant.
fn likeliest<'a>(word: &str, known: &[&'a str]) -> Option<&'a str> {
    let scored = known.iter().map(|&candidate| (strsim::jaro_winkler(word, candidate), candidate));
    let best = scored.max_by(|a, b| a.0.total_cmp(&b.0));
    best.filter(|(likeness, _)| *likeness > 0.8).map(|(_, candidate)| candidate)
}
