use std::net::{Ipv4Addr, Ipv6Addr, SocketAddrV4};
use std::ops::Range;

use ipnet::{Ipv4Net, Ipv6Net};
use straddle_xlat::eam::{Mapping, Table};
use straddle_xlat::rfc6052::Prefix;
use straddle_xlat::{Config as Translator, Mode};

use crate::config::{self, Config, Diagnostic, Spanned};

use super::host::find;
use super::siit::not_the_hosts;
use super::translation::{Translation, narrow};

/// The host's own address on the IPv4 side where the file names none (RFC 6333 §5.7, RFC 7335).
pub(super) const ADDRESS4: Ipv4Addr = Ipv4Addr::new(192, 0, 0, 2);

/// Where the prefix of the network's NAT64 comes from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Prefix64 {
    /// From the network: DNS64 answers (RFC 7050), router advertisements (RFC 8781).
    #[default]
    Discover,
    /// From the file.
    Given(Prefix),
}

/// Where the IPv6 address comes from that the host's IPv4 packets get.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Address6 {
    /// One is chosen from the network of the host's uplink.
    #[default]
    Auto,
    /// One is chosen from this network; [`straddle_xlat::neutral::choose`] does it.
    Within(Ipv6Net),
    /// It is this.
    Given(Ipv6Addr),
}

/// IPv4 for the programs of an IPv6-only host: 464XLAT's customer side (RFC 6877).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Clat {
    /// The bridge's name.
    pub name: String,
    /// Its tun device.
    pub device: String,
    /// The host that has it.
    pub host: String,
    /// The NAT64's prefix.
    pub prefix64: Prefix64,
    /// What the host's IPv4 packets come from on the IPv6 side; never an address within `prefix64`.
    pub address6: Address6,
    /// What programs see as the host's address.
    pub address4: Ipv4Addr,
    /// The resolvers that are asked for the prefix; the host's own where there is none.
    pub dns64: Vec<Ipv6Addr>,
    /// A service that is tried through each of several prefixes.
    pub probe4: Option<SocketAddrV4>,
    /// MTU of the IPv6 side in bytes, where the file says one.
    pub mtu6: Option<u16>,
    /// What every translator has.
    pub translation: Translation,
    /// Where it stands in the file.
    pub span: Range<usize>,
}

impl Clat {
    /// What its translator is told: the address that was chosen, the NAT64's prefixes with the one to be
    /// used first, and the MTU of the route there in bytes, which counts where the file says none.
    #[must_use]
    pub fn config(&self, address6: Ipv6Addr, prefixes: Vec<Prefix>, mtu6: u16) -> Translator {
        let own = Mapping { v6: Ipv6Net::from(address6), v4: Ipv4Net::from(self.address4) };
        let mtu6 = self.mtu6.unwrap_or(mtu6);
        Translator {
            mode: Mode::Clat,
            pool6: prefixes,
            // One mapping of whole addresses is always a table.
            eam: Table::new(&[own]).unwrap_or_default(),
            // An IPv6 header is 20 bytes longer than an IPv4 header.
            mtu4: mtu6.saturating_sub(20),
            mtu6,
            ..self.translation.config()
        }
    }
}

/// Every legal `[[clat]]` of the file; what is illegal goes to `found`.
pub(super) fn build(config: &Config, found: &mut Vec<Diagnostic>) -> Vec<Clat> {
    let mut clats = Vec::new();
    for (index, entry) in config.clats.iter().enumerate() {
        let earlier = config.clats.get(..index).unwrap_or(&[]);
        one_for_each_host(entry, earlier, found);
        same_address_twice(entry, earlier, found);
        clats.extend(one(config, entry, found));
    }
    clats
}

fn one(config: &Config, entry: &config::Clat, found: &mut Vec<Diagnostic>) -> Option<Clat> {
    let host = find(config, entry.host.as_ref(), found);
    without_use(entry, found);
    apart_from_the_nat64(entry, found);
    if let Some(host) = host {
        not_of_the_host(entry, host, found);
    }
    Some(Clat {
        name: name(entry)?,
        device: device(entry),
        host: host?.name.value.clone(),
        prefix64: entry.prefix64.as_ref().map(|prefix| prefix.value).unwrap_or_default(),
        address6: address6(entry, found),
        address4: entry.address4.as_ref().map_or(ADDRESS4, |address| address.value),
        dns64: entry.dns64.iter().map(|resolver| resolver.value).collect(),
        probe4: entry.probe4.as_ref().map(|probe| probe.value),
        mtu6: entry.mtu6.as_ref().and_then(|mtu| narrow(mtu.value)),
        translation: Translation::from_config(&entry.translation),
        span: entry.span.clone(),
    })
}

/// Its own name, or that of its recipe and host.
pub(super) fn name(entry: &config::Clat) -> Option<String> {
    match &entry.name {
        Some(name) => Some(name.value.clone()),
        None => entry.host.as_ref().map(|host| format!("clat-{}", host.value)),
    }
}

/// A host has one.
pub(super) fn device(entry: &config::Clat) -> String {
    entry.name.as_ref().map_or_else(|| "st-clat".into(), |name| format!("st-{}", name.value))
}

fn address6(entry: &config::Clat, found: &mut Vec<Diagnostic>) -> Address6 {
    match (&entry.address6, &entry.prefix6) {
        (None, None) => Address6::Auto,
        (None, Some(prefix)) => Address6::Within(prefix.value),
        (Some(address), None) => Address6::Given(address.value),
        (Some(address), Some(prefix)) => {
            found.push(Diagnostic::new(
                prefix.span.clone(),
                format!("nothing is chosen from `prefix6`: `address6` is {}", address.value),
                "keep one of the two, or leave both out",
            ));
            Address6::Given(address.value)
        }
    }
}

fn one_for_each_host(entry: &config::Clat, earlier: &[config::Clat], found: &mut Vec<Diagnostic>) {
    let Some(host) = &entry.host else { return };
    if earlier.iter().filter_map(|other| other.host.as_ref()).any(|other| other.value == host.value) {
        found.push(Diagnostic::new(
            host.span.clone(),
            format!("two [[clat]] on `{}`", host.value),
            "a host has one: delete one of the two",
        ));
    }
}

fn same_address_twice(entry: &config::Clat, earlier: &[config::Clat], found: &mut Vec<Diagnostic>) {
    let Some(address) = &entry.address6 else { return };
    if earlier.iter().filter_map(|other| other.address6.as_ref()).any(|other| other.value == address.value) {
        found.push(Diagnostic::new(
            address.span.clone(),
            format!("two [[clat]] have the address `{}`", address.value),
            "write another address, or leave `address6` out: one is chosen",
        ));
    }
}

/// What is only asked where the prefix is discovered.
fn without_use(entry: &config::Clat, found: &mut Vec<Diagnostic>) {
    let Some(Spanned { value: Prefix64::Given(prefix), .. }) = entry.prefix64 else { return };
    let dns64 = entry.dns64.first().map(|resolver| ("dns64", &resolver.span));
    let probe4 = entry.probe4.as_ref().map(|probe| ("probe4", &probe.span));
    for (key, span) in dns64.into_iter().chain(probe4) {
        found.push(Diagnostic::new(
            span.clone(),
            format!("`{key}` has no use: `prefix64` is {prefix}"),
            format!("leave `{key}` out, or write prefix64 = \"discover\""),
        ));
    }
}

/// Packets to the host must not look like packets to the NAT64.
fn apart_from_the_nat64(entry: &config::Clat, found: &mut Vec<Diagnostic>) {
    let Some(Spanned { value: Prefix64::Given(prefix64), .. }) = entry.prefix64 else { return };
    if let Some(address) = &entry.address6
        && prefix64.contains(address.value)
    {
        found.push(Diagnostic::new(
            address.span.clone(),
            format!("`{}` is inside the NAT64's prefix {prefix64}", address.value),
            "write an address of the host's own network, or leave `address6` out: one is chosen",
        ));
    }
    if let Some(prefix) = &entry.prefix6
        && (prefix64.net().contains(&prefix.value) || prefix.value.contains(&prefix64.net()))
    {
        found.push(Diagnostic::new(
            prefix.span.clone(),
            format!("`{}` and the NAT64's prefix {prefix64} overlap", prefix.value),
            "write a prefix of the host's own network, or leave `prefix6` out",
        ));
    }
}

/// The addresses of the translator are its own.
fn not_of_the_host(entry: &config::Clat, host: &config::Host, found: &mut Vec<Diagnostic>) {
    if let Some(Spanned { value: Prefix64::Given(value), span }) = &entry.prefix64 {
        not_the_hosts(&Spanned { value: *value, span: span.clone() }, "prefix64", host, found);
    }
    if let (Some(address), Some(own)) = (&entry.address6, &host.ipv6)
        && address.value == own.value
    {
        found.push(Diagnostic::new(
            address.span.clone(),
            format!("`{}` is [host.{}]'s own address", address.value, host.name.value),
            "write another address of its network, or leave `address6` out: one is chosen",
        ));
    }
    if let Some(address) = &entry.address4
        && host.ipv4.iter().any(|own| own.value.addr() == address.value)
    {
        found.push(Diagnostic::new(
            address.span.clone(),
            format!("`{}` is [host.{}]'s own address", address.value, host.name.value),
            format!("leave `address4` out: it is {ADDRESS4} then"),
        ));
    }
}

#[cfg(test)]
mod tests {
    use straddle_xlat::UdpZeroChecksum;

    use super::*;

    const HOST: &str = "[host.vm]\nuplink = \"eth0\"\nipv6 = \"2001:db8:eec0::2\"\n[[clat]]\nhost = \"vm\"\n";

    fn clat(lines: &str) -> Clat {
        crate::model::read(&format!("{HOST}{lines}")).unwrap().clats.remove(0)
    }

    #[test]
    fn what_is_left_out() {
        let expected = Clat {
            name: "clat-vm".into(),
            device: "st-clat".into(),
            host: "vm".into(),
            prefix64: Prefix64::Discover,
            address6: Address6::Auto,
            address4: "192.0.0.2".parse().unwrap(),
            dns64: Vec::new(),
            probe4: None,
            mtu6: None,
            translation: Translation::from_config(&config::Translation::default()),
            span: clat("").span,
        };
        assert_eq!(clat(""), expected);
    }

    #[test]
    fn each_key_arrives() {
        let check = |line: &str, expected: fn(&Clat) -> bool| {
            let found = clat(line);
            assert!(expected(&found), "{line}: {found:?}");
        };
        check("name = \"four\"", |clat| (clat.name.as_str(), clat.device.as_str()) == ("four", "st-four"));
        check("prefix64 = \"discover\"", |clat| clat.prefix64 == Prefix64::Discover);
        check("prefix64 = \"64:ff9b::/96\"", |clat| clat.prefix64 == Prefix64::Given(Prefix::WELL_KNOWN));
        check("address6 = \"2001:db8:eec0::464\"", |clat| {
            clat.address6 == Address6::Given("2001:db8:eec0::464".parse().unwrap())
        });
        check("prefix6 = \"2001:db8:eec0:7::/64\"", |clat| {
            clat.address6 == Address6::Within("2001:db8:eec0:7::/64".parse().unwrap())
        });
        check("address4 = \"192.0.0.4\"", |clat| clat.address4.octets() == [192, 0, 0, 4]);
        check("dns64 = \"::1\"", |clat| clat.dns64 == [Ipv6Addr::LOCALHOST]);
        check("dns64 = [\"2001:db8::53\", \"2001:db8::54\"]", |clat| clat.dns64.len() == 2);
        check("probe4 = \"1.1.1.1:443\"", |clat| clat.probe4 == "1.1.1.1:443".parse().ok());
        check("mtu6 = 1400", |clat| clat.mtu6 == Some(1400));
        check("udp-zero-checksum = \"drop\"", |clat| {
            clat.translation.udp_zero_checksum == UdpZeroChecksum::Drop
        });
    }

    #[test]
    fn what_its_translator_is_told() {
        let address6 = "2001:db8:eec0::464".parse().unwrap();
        let check = |lines: &str, mtus: (u16, u16), lowest: u16| {
            let told = clat(lines).config(address6, vec![Prefix::WELL_KNOWN], 1500);
            assert_eq!(told.mode, Mode::Clat);
            assert_eq!(told.pool6, [Prefix::WELL_KNOWN]);
            assert_eq!(told.eam.to6(ADDRESS4), Some(address6));
            assert_eq!(told.eam.to4(address6), Some(ADDRESS4));
            assert_eq!(((told.mtu4, told.mtu6), told.lowest_ipv6_mtu), (mtus, lowest), "{lines}");
        };
        check("", (1480, 1500), 1280);
        check("mtu6 = 1400", (1380, 1400), 1280);
        check("lowest-ipv6-mtu = 1500", (1480, 1500), 1500);
    }
}
