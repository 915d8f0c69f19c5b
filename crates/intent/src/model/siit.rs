use std::net::{Ipv4Addr, Ipv6Addr};
use std::ops::Range;

use ipnet::{Ipv4Net, Ipv6Net};
use straddle_xlat::eam::{self, Illegal, Mapping, Table};
use straddle_xlat::rfc6052::Prefix;
use straddle_xlat::{Config as Translator, Hairpin, Mode};

use crate::config::{self, Config, Diagnostic, Spanned};

use super::host::find;
use super::translation::{FastChoice, Translation, narrow};

/// A stateless translator between an IPv6 and an IPv4 network (RFC 7915). It has `pool6` or `eam` or both.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Siit {
    /// The bridge's name.
    pub name: String,
    /// Its tun device.
    pub device: String,
    /// The host that translates.
    pub host: String,
    /// RFC 6052 prefixes, none within another; the first is the one that IPv4 addresses are put into.
    pub pool6: Vec<Prefix>,
    /// Where each of them stands in the file.
    pub spans: Vec<Range<usize>>,
    /// Explicit address mappings (RFC 7757).
    pub eam: Table,
    /// The translator's own IPv4 address.
    pub own4: Option<Ipv4Addr>,
    /// The translator's own IPv6 address.
    pub own6: Option<Ipv6Addr>,
    /// Sources for ICMPv6 errors whose own can't be translated (RFC 6791).
    pub rfc6791v4: Option<Ipv4Net>,
    /// Sources for ICMPv4 errors whose own can't be translated.
    pub rfc6791v6: Option<Ipv6Net>,
    /// MTU of the IPv4 side in bytes, where the file says one.
    pub mtu4: Option<u16>,
    /// MTU of the IPv6 side in bytes, where the file says one.
    pub mtu6: Option<u16>,
    /// What becomes of packets between two mapped hosts.
    pub hairpin: Hairpin,
    /// Whether private IPv4 addresses may stand in 64:ff9b::/96.
    pub private_through_well_known: bool,
    /// The devices whose packets go out at once, past both passes through the host.
    pub direct: Vec<Spanned<String>>,
    /// What every translator has.
    pub translation: Translation,
}

impl Siit {
    /// What its translator is told. `mtu4` and `mtu6` are the MTUs of the routes to both sides in bytes,
    /// which count where the file says none.
    #[must_use]
    pub fn config(&self, mtu4: u16, mtu6: u16) -> Translator {
        Translator {
            mode: Mode::Siit,
            pool6: self.pool6.clone(),
            eam: self.eam.clone(),
            own4: self.own4,
            own6: self.own6,
            rfc6791v4: self.rfc6791v4,
            rfc6791v6: self.rfc6791v6,
            mtu4: self.mtu4.unwrap_or(mtu4),
            mtu6: self.mtu6.unwrap_or(mtu6),
            hairpin: self.hairpin,
            private_through_well_known: self.private_through_well_known,
            ..self.translation.config()
        }
    }
}

/// Every legal `[[siit]]` of the file; what is illegal goes to `found`.
pub(super) fn build(config: &Config, found: &mut Vec<Diagnostic>) -> Vec<Siit> {
    config.siits.iter().filter_map(|entry| one(config, entry, found)).collect()
}

fn one(config: &Config, entry: &config::Siit, found: &mut Vec<Diagnostic>) -> Option<Siit> {
    let host = find(config, entry.host.as_ref(), found);
    nothing_to_translate(entry, found);
    nobody_to_tell(entry, found);
    pools_by_themselves(entry, found);
    direct_without_programs(entry, found);
    if let Some(host) = host {
        for pool in &entry.pool6 {
            not_the_hosts(pool, "pool6", host, found);
        }
    }
    let eam = table(&entry.eam, found);
    let host = host?.name.value.clone();
    Some(Siit {
        name: name(entry)?,
        device: device(entry),
        host,
        pool6: entry.pool6.iter().map(|pool| pool.value).collect(),
        spans: entry.pool6.iter().map(|pool| pool.span.clone()).collect(),
        eam: eam?,
        own4: value(entry.own4.as_ref()),
        own6: value(entry.own6.as_ref()),
        rfc6791v4: value(entry.rfc6791v4.as_ref()),
        rfc6791v6: value(entry.rfc6791v6.as_ref()),
        mtu4: value(entry.mtu4.as_ref()).and_then(narrow),
        mtu6: value(entry.mtu6.as_ref()).and_then(narrow),
        hairpin: value(entry.hairpin.as_ref()).unwrap_or_default(),
        private_through_well_known: value(entry.private_through_well_known.as_ref())
            .unwrap_or(Translator::default().private_through_well_known),
        direct: entry.direct.clone(),
        translation: Translation::from_config(&entry.translation),
    })
}

fn value<T: Copy>(written: Option<&Spanned<T>>) -> Option<T> {
    written.map(|written| written.value)
}

/// Its own name, or that of its recipe and host.
pub(super) fn name(entry: &config::Siit) -> Option<String> {
    match &entry.name {
        Some(name) => Some(name.value.clone()),
        None => entry.host.as_ref().map(|host| format!("siit-{}", host.value)),
    }
}

/// One without a name is the only such of its host.
pub(super) fn device(entry: &config::Siit) -> String {
    entry.name.as_ref().map_or_else(|| "st-siit".into(), |name| format!("st-{}", name.value))
}

fn nothing_to_translate(entry: &config::Siit, found: &mut Vec<Diagnostic>) {
    // One that was written and refused has its diagnostic.
    if !entry.keys.iter().any(|key| key == "pool6" || key == "eam") {
        found.push(Diagnostic::new(
            entry.span.clone(),
            "[[siit]] has neither `pool6` nor `eam`: it would translate nothing",
            "add pool6 = \"64:ff9b::/96\", or eam = [[\"2001:db8:3::/120\", \"198.51.100.0/24\"]]",
        ));
    }
}

/// Errors of its own come from 192.0.0.8 in a prefix where the file says nothing else, and that is not global.
fn nobody_to_tell(entry: &config::Siit, found: &mut Vec<Diagnostic>) {
    let Some(Spanned { value: false, span }) = &entry.private_through_well_known else { return };
    let other = entry.pool6.iter().any(|pool| pool.value != Prefix::WELL_KNOWN);
    if entry.own6.is_none() && !other && !entry.pool6.is_empty() {
        found.push(Diagnostic::new(
            span.clone(),
            "the translator has no IPv6 address that its own errors could come from",
            "add own6 = \"…\", an address that this host's networks know and nobody has: without such errors, \
             nobody is told what is too large, and connections hang",
        ));
    }
}

/// What goes directly is the fast path's.
fn direct_without_programs(entry: &config::Siit, found: &mut Vec<Diagnostic>) {
    let off = entry.translation.fast_path.as_ref().is_some_and(|choice| choice.value == FastChoice::Off);
    if let Some(first) = entry.direct.first().filter(|_| off) {
        found.push(Diagnostic::new(
            first.span.clone(),
            "`direct` goes by the fast path, and `fast-path` is \"off\"",
            "write fast-path = \"auto\", or delete `direct`",
        ));
    }
}

fn overlap(one: Prefix, other: Prefix) -> bool {
    one.net().contains(&other.net()) || other.net().contains(&one.net())
}

fn pools_by_themselves(entry: &config::Siit, found: &mut Vec<Diagnostic>) {
    for (index, pool) in entry.pool6.iter().enumerate() {
        let mut earlier = entry.pool6.iter().take(index);
        let Some(other) = earlier.find(|other| overlap(pool.value, other.value)) else { continue };
        let (message, help) = if other.value == pool.value {
            (format!("`{}` stands in `pool6` twice", pool.value), "delete one of the two")
        } else {
            (
                format!("`{}` and `{}` overlap", pool.value, other.value),
                "keep one of the two: an address would have two meanings",
            )
        };
        found.push(Diagnostic::new(pool.span.clone(), message, help));
    }
}

/// The host's own traffic must not go into the translator.
pub(super) fn not_the_hosts(
    prefix: &Spanned<Prefix>,
    key: &str,
    host: &config::Host,
    found: &mut Vec<Diagnostic>,
) {
    let Some(own) = &host.ipv6 else { return };
    if prefix.value.contains(own.value) {
        found.push(Diagnostic::new(
            prefix.span.clone(),
            format!("[host.{}] stands inside `{key}`, with `{}`", host.name.value, own.value),
            "write a prefix that is used for translation alone",
        ));
    }
}

fn table(written: &[Spanned<Mapping>], found: &mut Vec<Diagnostic>) -> Option<Table> {
    let mappings: Vec<Mapping> = written.iter().map(|mapping| mapping.value).collect();
    for Spanned { value, span } in written {
        let four = SPECIAL4.iter().any(|net| net.parse().is_ok_and(|net: Ipv4Net| net.contains(&value.v4)));
        let six = SPECIAL6.iter().any(|net| net.parse().is_ok_and(|net: Ipv6Net| net.contains(&value.v6)));
        if four || six {
            let odd = if four { value.v4.to_string() } else { value.v6.to_string() };
            found.push(Diagnostic::new(
                span.clone(),
                format!("`{odd}` is loopback, link-local, multicast or reserved: no host is reached there"),
                "write addresses that hosts of the two networks have",
            ));
        }
    }
    for illegal in eam::illegal(&mappings) {
        let Some(Spanned { value, span }) = written.get(illegal.at()) else { continue };
        let Mapping { v6, v4 } = *value;
        let (message, help) = match illegal {
            Illegal::SuffixTooShort { .. } => (
                format!("`{v4}` has more addresses than `{v6}`"),
                format!("write an IPv6 prefix of at most {} bits for it", 96 + v4.prefix_len()),
            ),
            Illegal::HostBits { .. } => (
                "a prefix has bits behind its length".into(),
                format!("write [\"{}\", \"{}\"]", v6.trunc(), v4.trunc()),
            ),
            Illegal::Twice { earlier, .. } => twice(*value, mappings.get(earlier)),
        };
        found.push(Diagnostic::new(span.clone(), message, help));
    }
    Table::new(&mappings).ok()
}

/// What no packet from one network to another has (RFC 6890).
const SPECIAL4: [&str; 5] = ["0.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "224.0.0.0/4", "240.0.0.0/4"];
const SPECIAL6: [&str; 4] = ["::/128", "::1/128", "fe80::/10", "ff00::/8"];

fn twice(mapping: Mapping, earlier: Option<&Mapping>) -> (String, String) {
    let message = match earlier {
        Some(earlier) if *earlier == mapping => {
            format!("`{}` and `{}` are mapped to each other twice", mapping.v6, mapping.v4)
        }
        Some(earlier) if earlier.v4 == mapping.v4 => {
            format!("`{}` is mapped already, to {}", mapping.v4, earlier.v6)
        }
        Some(earlier) => format!("`{}` is mapped already, to {}", mapping.v6, earlier.v4),
        None => "a prefix is mapped already".into(),
    };
    (message, "delete one of the two pairs, or write another prefix in it".into())
}

#[cfg(test)]
mod tests {
    use straddle_xlat::{TrafficClass, UdpZeroChecksum};

    use super::*;

    const HOST: &str =
        "[host.gate]\nuplink = \"eth0\"\nipv6 = \"2001:db8:eec0::2\"\n[[siit]]\nhost = \"gate\"\n";

    /// What a translator is told by these lines, where the routes have MTUs of 1500 and 1400.
    fn told(lines: &str) -> (Siit, Translator) {
        let mut model = crate::model::read(&format!("{HOST}{lines}")).unwrap();
        let siit = model.siits.remove(0);
        let told = siit.config(1500, 1400);
        (siit, told)
    }

    #[test]
    fn what_is_left_out() {
        let (siit, told) = told("pool6 = \"64:ff9b::/96\"");
        assert_eq!((siit.name.as_str(), siit.device.as_str()), ("siit-gate", "st-siit"));
        assert_eq!(told.pool6, [Prefix::WELL_KNOWN]);
        let default = Translator { pool6: vec![Prefix::WELL_KNOWN], mtu6: 1400, ..Translator::default() };
        assert_eq!(format!("{told:?}"), format!("{default:?}"));
    }

    #[test]
    fn each_key_arrives() {
        let check = |line: &str, expected: fn(&Translator) -> bool| {
            let (_, told) = told(&format!("pool6 = [\"2001:db8:64::/96\", \"64:ff9b::/96\"]\n{line}"));
            assert!(expected(&told), "{line}: {told:?}");
        };
        check("", |told| told.pool6.get(1) == Some(&Prefix::WELL_KNOWN) && told.pool6.len() == 2);
        check("own4 = \"192.0.2.1\"", |told| told.own4 == Some([192, 0, 2, 1].into()));
        check("own6 = \"2001:db8::1\"", |told| told.own6 == "2001:db8::1".parse().ok());
        check("rfc6791v4 = \"192.0.2.0/28\"", |told| told.rfc6791v4 == "192.0.2.0/28".parse().ok());
        check("rfc6791v4 = \"192.0.2.7\"", |told| told.rfc6791v4 == "192.0.2.7/32".parse().ok());
        check("rfc6791v6 = \"2001:db8:1::/59\"", |told| told.rfc6791v6 == "2001:db8:1::/59".parse().ok());
        check("lowest-ipv6-mtu = 1400", |told| told.lowest_ipv6_mtu == 1400);
        check("mtu4 = 1280", |told| (told.mtu4, told.mtu6) == (1280, 1400));
        check("mtu6 = 9000", |told| (told.mtu4, told.mtu6) == (1500, 9000));
        check("udp-zero-checksum = \"drop\"", |told| told.udp_zero_checksum == UdpZeroChecksum::Drop);
        check("udp-zero-checksum = \"pass\"", |told| told.udp_zero_checksum == UdpZeroChecksum::Pass);
        check("hairpin = \"none\"", |told| told.hairpin == Hairpin::None);
        check("hairpin = \"simple\"", |told| told.hairpin == Hairpin::Simple);
        check("mtu-plateaus = [68, 1492, 65535, 1492]", |told| told.mtu_plateaus == [65535, 1492, 68]);
        check("traffic-class = \"copy\"", |told| told.traffic_class == TrafficClass::Copy);
        check("traffic-class = 0", |told| told.traffic_class == TrafficClass::Fixed(0));
        check("traffic-class = 0xb8", |told| told.traffic_class == TrafficClass::Fixed(184));
        check("private-through-well-known = false", |told| !told.private_through_well_known);
        check(
            "eam = [[\"2001:db8:3::/120\", \"198.51.100.0/24\"], [\"2001:db8::9\", \"192.0.2.9\"]]",
            |told| {
                let six = |address: [u8; 4]| told.eam.to6(address.into()).map(|found| found.to_string());
                six([198, 51, 100, 7]).as_deref() == Some("2001:db8:3::7")
                    && six([192, 0, 2, 9]).as_deref() == Some("2001:db8::9")
            },
        );
    }
}
