//! First station: the user's words with their positions, and every mistake in them.

mod borrow;
mod clat;
mod diagnostic;
mod endpoint;
mod host;
mod prefix;
mod publish;
mod relay;
mod section;
mod siit;
mod translation;
mod tunnel6;
mod update_url;
mod value;
mod via6;

pub use borrow::Borrow;
pub use clat::Clat;
pub use diagnostic::Diagnostic;
pub use host::{Host, SourceWord};
pub use prefix::translation as translation_prefix;
pub use publish::{EndpointWord, Ports, Publish};
pub use relay::{ProxyVersion, Relay, Source};
pub(crate) use section::suggestion;
pub use siit::Siit;
pub use translation::Translation;
pub use tunnel6::{EndpointWord4, Tunnel6};
pub use update_url::UpdateUrl;
pub use value::Complaint;
pub use via6::{HopWord, Via6};

use std::ops::Range;

use section::{Reader, Section};
use toml::de::{DeTable, DeValue};

/// A value and where it stands in the file (byte offsets).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spanned<T> {
    /// What was written.
    pub value: T,
    /// Where, in bytes from the start of the file.
    pub span: Range<usize>,
}

/// The file, word for word. A value that is missing here although the file needs it has its
/// diagnostic already.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Config {
    /// `[host.NAME]`, in the order of the file.
    pub hosts: Vec<Host>,
    /// `[[borrow]]`, in the order of the file.
    pub borrows: Vec<Borrow>,
    /// `[[publish]]`, in the order of the file.
    pub publishes: Vec<Publish>,
    /// `[[siit]]`, in the order of the file.
    pub siits: Vec<Siit>,
    /// `[[clat]]`, in the order of the file.
    pub clats: Vec<Clat>,
    /// `[[relay]]`, in the order of the file.
    pub relays: Vec<Relay>,
    /// `[[via6]]`, in the order of the file.
    pub via6s: Vec<Via6>,
    /// `[[tunnel6]]`, in the order of the file.
    pub tunnels6: Vec<Tunnel6>,
}

const TOP_KEYS: &[&str] = &["host", "borrow", "publish", "siit", "clat", "relay", "via6", "tunnel6"];

/// Reads the file. What could be understood is returned beside all that could not.
pub fn parse(text: &str) -> (Config, Vec<Diagnostic>) {
    let (root, syntax) = DeTable::parse_recoverable(text);
    let mut reader = Reader::new(syntax.iter().map(Diagnostic::from_syntax).collect());
    let mut config = Config::default();
    Section::read(&mut reader, "the file".into(), 0..0, root.get_ref(), TOP_KEYS);
    if let Some(entry) = root.get_ref().get("host") {
        config.hosts = hosts(&mut reader, entry);
    }
    if let Some(entry) = root.get_ref().get("borrow") {
        config.borrows = entries(&mut reader, "borrow", entry, borrow::KEYS, borrow::read);
    }
    if let Some(entry) = root.get_ref().get("publish") {
        config.publishes = entries(&mut reader, "publish", entry, publish::KEYS, publish::read);
    }
    if let Some(entry) = root.get_ref().get("siit") {
        config.siits = entries(&mut reader, "siit", entry, siit::KEYS, siit::read);
    }
    if let Some(entry) = root.get_ref().get("clat") {
        config.clats = entries(&mut reader, "clat", entry, clat::KEYS, clat::read);
    }
    if let Some(entry) = root.get_ref().get("relay") {
        config.relays = entries(&mut reader, "relay", entry, relay::KEYS, relay::read);
    }
    if let Some(entry) = root.get_ref().get("via6") {
        config.via6s = entries(&mut reader, "via6", entry, via6::KEYS, via6::read);
    }
    if let Some(entry) = root.get_ref().get("tunnel6") {
        config.tunnels6 = entries(&mut reader, "tunnel6", entry, tunnel6::KEYS, tunnel6::read);
    }
    if config == Config::default() && reader.clean() {
        reader.add(
            0..0,
            "the file describes no bridge",
            "describe the hosts as [host.NAME] and a bridge as [[borrow]], [[publish]], [[relay]], [[siit]], \
             [[clat]], [[via6]] or [[tunnel6]]",
        );
    }
    (config, reader.finish())
}

type Entry<'a> = toml::Spanned<DeValue<'a>>;

fn hosts(reader: &mut Reader, entry: &Entry<'_>) -> Vec<Host> {
    let Some(table) = entry.get_ref().as_table() else {
        reader.add(
            entry.span(),
            "`host` is not a table",
            "write a section of its own for each host: [host.NAME]",
        );
        return Vec::new();
    };
    let mut hosts = Vec::new();
    for (name, host) in table.iter() {
        if name.get_ref().is_empty() {
            reader.add(name.span(), "a host without a name", "write a name in the heading: [host.NAME]");
        }
        let Some(fields) = host.get_ref().as_table() else {
            let written = name.get_ref();
            reader.add(
                name.span(),
                format!("`{written}` is not a section of its own"),
                "write the host's name in the heading: [host.NAME]".to_string(),
            );
            continue;
        };
        let title = format!("[host.{}]", name.get_ref());
        let section = Section::read(reader, title, name.span(), fields, host::KEYS);
        hosts.push(host::read(reader, name.get_ref().to_string(), &section));
    }
    hosts.sort_by_key(|host| host.name.span.start);
    hosts
}

fn entries<T>(
    reader: &mut Reader,
    recipe: &str,
    entry: &Entry<'_>,
    keys: &[&str],
    read: fn(&mut Reader, &Section<'_>) -> T,
) -> Vec<T> {
    let Some(list) = entry.get_ref().as_array() else {
        reader.add(
            entry.span(),
            format!("`{recipe}` is one table"),
            format!("write [[{recipe}]]: there can be several"),
        );
        return Vec::new();
    };
    let mut found = Vec::new();
    for item in list.iter() {
        match item.get_ref().as_table() {
            Some(fields) => {
                let section = Section::read(reader, format!("[[{recipe}]]"), item.span(), fields, keys);
                found.push(read(reader, &section));
            }
            None => reader.add(
                item.span(),
                format!("an entry of `{recipe}` is not a table"),
                format!("write [[{recipe}]]"),
            ),
        }
    }
    found
}
