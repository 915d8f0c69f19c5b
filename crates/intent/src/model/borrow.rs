use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::Range;

use ipnet::Ipv4Net;
use straddle_encap::Kind;

use crate::config::{self, Config, Diagnostic, Spanned};

use super::host::{BackendChoice, find, lacks};
use super::translation::FastChoice;

/// What a carrier is called in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CarrierKind {
    /// GRE in IPv6 (RFC 2784, RFC 2890).
    Ip6gre,
    /// IPv4 in IPv6 (RFC 2473).
    Ip4ip6,
}

/// One end of a carrier.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct End {
    /// The host's name.
    pub host: String,
    /// Its device to the internet.
    pub uplink: String,
    /// Where the carrier ends.
    pub endpoint: IpAddr,
    /// MTU of its path in bytes, where the file says one.
    pub mtu: Option<u32>,
}

/// An IPv4 address of one host, used by another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Borrow {
    /// The bridge's name.
    pub name: String,
    /// The carrier's device, the same on both hosts.
    pub device: String,
    /// The address that moves, with the prefix it has at the lender.
    pub address: Ipv4Net,
    /// The router of that prefix.
    pub gateway: Ipv4Addr,
    /// Who gives the address up.
    pub lender: End,
    /// Who gets it.
    pub borrower: End,
    /// The carrier between them.
    pub kind: Kind,
    /// Where the file says that packets at the lender go out at once, past the carrier's device; none where they don't.
    pub direct: Option<Range<usize>>,
}

/// Every legal `[[borrow]]` of the file; what is illegal goes to `found`.
pub(super) fn build(config: &Config, found: &mut Vec<Diagnostic>) -> Vec<Borrow> {
    let mut borrows: Vec<Borrow> = Vec::new();
    for (index, entry) in config.borrows.iter().enumerate() {
        let earlier = config.borrows.get(..index).unwrap_or(&[]);
        same_address_twice(entry, earlier, found);
        if let Some(borrow) = one(config, entry, found) {
            same_carrier_twice(&borrow, entry, &borrows, found);
            borrows.push(borrow);
        } else if found.is_empty() {
            // Whatever keeps an entry from being a bridge has its words above; none goes unheard.
            let help = "please tell the makers of straddle what the entry says";
            found.push(Diagnostic::new(entry.span.clone(), "this entry makes no bridge", help));
        }
    }
    borrows
}

fn one(config: &Config, entry: &config::Borrow, found: &mut Vec<Diagnostic>) -> Option<Borrow> {
    let from = find(config, entry.from.as_ref(), found);
    let to = find(config, entry.to.as_ref(), found);
    if let (Some(from), Some(to)) = (&entry.from, &entry.to)
        && from.value == to.value
    {
        let message = "a host can't borrow from itself";
        found.push(Diagnostic::new(to.span.clone(), message, "name the host that shall have the address"));
        return None;
    }
    let kind = kind(entry, found);
    let borrower = to.and_then(|host| end(host, "the carrier ends at it", found));
    let lender = from.and_then(|host| end(host, "the carrier ends at it", found));
    let address = entry.address.as_ref()?;
    let lent = from.and_then(|host| lent(host, address, found));
    let gateway = from.and_then(|host| gateway(host, found));
    if let Some(to) = to {
        not_underlay(address, from, to, found);
    }
    let direct = entry.direct.as_ref().filter(|direct| direct.value);
    if let Some((direct, from)) = direct.zip(from) {
        direct_without_programs(direct, from, found);
    }
    Some(Borrow {
        name: name(entry, address.value),
        device: device(entry, address.value),
        address: lent?,
        gateway: gateway?,
        lender: lender?,
        borrower: borrower?,
        kind: kind?,
        direct: direct.map(|direct| direct.span.clone()),
    })
}

fn end(host: &config::Host, why: &str, found: &mut Vec<Diagnostic>) -> Option<End> {
    if host.ipv6.is_none() {
        lacks(host, "ipv6", why, "\"2001:db8::2\", its global IPv6 address", found);
    }
    Some(End {
        host: host.name.value.clone(),
        uplink: host.uplink.as_ref()?.value.clone(),
        endpoint: host.ipv6.as_ref()?.value.into(),
        mtu: host.mtu.as_ref().map(|mtu| mtu.value),
    })
}

fn lent(host: &config::Host, address: &Spanned<Ipv4Addr>, found: &mut Vec<Diagnostic>) -> Option<Ipv4Net> {
    let own = host.ipv4.iter().find(|net| net.value.addr() == address.value);
    if own.is_none() && host.ipv4.is_empty() {
        let example = format!("\"{}/24\", the address as `ip addr` shows it", address.value);
        lacks(host, "ipv4", "it lends an IPv4 address", &example, found);
    } else if own.is_none() {
        let listed: Vec<String> = host.ipv4.iter().map(|net| net.value.to_string()).collect();
        found.push(Diagnostic::new(
            address.span.clone(),
            format!(
                "[host.{}] can't lend `{}`: its ipv4 is {}",
                host.name.value,
                address.value,
                listed.join(", ")
            ),
            "write an address that the lender has, or add this one to its `ipv4`",
        ));
    }
    own.map(|net| net.value)
}

fn gateway(host: &config::Host, found: &mut Vec<Diagnostic>) -> Option<Ipv4Addr> {
    if host.gateway4.is_none() {
        let why = "without its address the lender reaches its router no other way";
        lacks(host, "gateway4", why, "\"192.0.2.1\", as `ip route show default` tells it", found);
    }
    host.gateway4.as_ref().map(|gateway| gateway.value)
}

/// What goes directly is the fast path's, past a tun device.
fn direct_without_programs(direct: &Spanned<bool>, lender: &config::Host, found: &mut Vec<Diagnostic>) {
    let name = &lender.name.value;
    if lender.fast_path.as_ref().is_some_and(|choice| choice.value == FastChoice::Off) {
        found.push(Diagnostic::new(
            direct.span.clone(),
            format!("`direct` goes by the fast path, and `fast-path` of [host.{name}] is \"off\""),
            "write fast-path = \"auto\" there, or delete `direct`",
        ));
    }
    if lender.carrier_backend.as_ref().is_some_and(|choice| choice.value == BackendChoice::Kernel) {
        found.push(Diagnostic::new(
            direct.span.clone(),
            format!("`direct` goes past a tun device, and `carrier-backend` of [host.{name}] is \"kernel\""),
            "write carrier-backend = \"auto\" or \"tun\" there, or delete `direct`",
        ));
    }
}

/// The address must not be what its own carrier stands on.
fn not_underlay(
    address: &Spanned<Ipv4Addr>,
    from: Option<&config::Host>,
    to: &config::Host,
    found: &mut Vec<Diagnostic>,
) {
    for end in [from, Some(to)].into_iter().flatten() {
        if let Some(endpoint) = &end.ipv6
            && embeds(endpoint.value, address.value)
        {
            found.push(Diagnostic::new(
                endpoint.span.clone(),
                format!(
                    "the carrier would stand on the borrowed address: `{}` contains {}",
                    endpoint.value, address.value
                ),
                "write an IPv6 address that lives without that IPv4 address",
            ));
        }
    }
    for net in to.ipv4.iter().filter(|net| net.value.contains(&address.value)) {
        found.push(Diagnostic::new(
            address.span.clone(),
            format!(
                "`{}` is inside {}, the network that [host.{}] stands in",
                address.value,
                net.value.trunc(),
                to.name.value
            ),
            format!("give [host.{}] the address directly: it needs no carrier", to.name.value),
        ));
    }
}

/// 6to4 (RFC 3056) and the well-known NAT64 prefix (RFC 6052) carry an IPv4 address inside.
fn embeds(endpoint: Ipv6Addr, address: Ipv4Addr) -> bool {
    let o = endpoint.octets();
    let six_to_four = o[0] == 0x20 && o[1] == 0x02 && o[2..6] == address.octets();
    let well_known = o[..12] == [0, 0x64, 0xff, 0x9b, 0, 0, 0, 0, 0, 0, 0, 0] && o[12..] == address.octets();
    six_to_four || well_known
}

fn kind(entry: &config::Borrow, found: &mut Vec<Diagnostic>) -> Option<Kind> {
    let key = entry.key.as_ref();
    match entry.carrier.as_ref().map_or(CarrierKind::Ip6gre, |kind| kind.value) {
        CarrierKind::Ip6gre => Some(Kind::Ip6gre { key: key.map(|key| key.value) }),
        CarrierKind::Ip4ip6 => {
            if let Some(key) = key {
                let message = "ip4ip6 has no keys";
                found.push(Diagnostic::new(
                    key.span.clone(),
                    message,
                    "leave `key` out, or write carrier = \"ip6gre\"",
                ));
                return None;
            }
            Some(Kind::Ip4ip6)
        }
    }
}

pub(super) fn name(entry: &config::Borrow, address: Ipv4Addr) -> String {
    entry.name.as_ref().map_or_else(|| format!("borrow-{address}"), |name| name.value.clone())
}

pub(super) fn device(entry: &config::Borrow, address: Ipv4Addr) -> String {
    entry
        .name
        .as_ref()
        .map_or_else(|| format!("st-{:08x}", u32::from(address)), |name| format!("st-{}", name.value))
}

fn same_address_twice(entry: &config::Borrow, earlier: &[config::Borrow], found: &mut Vec<Diagnostic>) {
    let Some(address) = &entry.address else { return };
    if earlier.iter().filter_map(|other| other.address.as_ref()).any(|other| other.value == address.value) {
        let message = format!("two bridges borrow `{}`", address.value);
        found.push(Diagnostic::new(
            address.span.clone(),
            message,
            "an address has one borrower: delete one of the two",
        ));
    }
}

/// The kernel and the peer tell carriers apart by addresses, protocol and key alone.
fn same_carrier_twice(
    borrow: &Borrow,
    entry: &config::Borrow,
    earlier: &[Borrow],
    found: &mut Vec<Diagnostic>,
) {
    let ends = |borrow: &Borrow| {
        let (a, b) = (borrow.lender.endpoint, borrow.borrower.endpoint);
        (a.min(b), a.max(b), borrow.kind)
    };
    if let Some(other) = earlier.iter().find(|other| ends(other) == ends(borrow)) {
        found.push(Diagnostic::new(
            entry.address.as_ref().map_or(entry.span.clone(), |address| address.span.clone()),
            format!(
                "{} and {} would have the same carrier: same hosts, same kind, same key",
                other.name, borrow.name
            ),
            "add a `key` of its own: carrier = \"ip6gre\" and, say, key = 2",
        ));
    }
}
