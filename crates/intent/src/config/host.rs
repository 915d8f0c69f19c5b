use std::net::{Ipv4Addr, Ipv6Addr};

use ipnet::{Ipv4Net, Ipv6Net};

use crate::model::{BackendChoice, FastChoice};

use super::section::{Reader, Section};
use super::update_url::{self, UpdateUrl};
use super::{Spanned, tunnel6, value};

/// `[host.NAME]`: a host that takes part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    /// NAME, at its place in the heading.
    pub name: Spanned<String>,
    /// The device that leads to the internet.
    pub uplink: Option<Spanned<String>>,
    /// Its own IPv4 addresses on the uplink, with their prefix lengths.
    pub ipv4: Vec<Spanned<Ipv4Net>>,
    /// The router of that prefix.
    pub gateway4: Option<Spanned<Ipv4Addr>>,
    /// The IPv6 address that carriers end at.
    pub ipv6: Option<Spanned<Ipv6Addr>>,
    /// MTU of the path to the other hosts in bytes, where it is less than the uplink's.
    pub mtu: Option<Spanned<u32>>,
    /// Which make of a carrier ends here.
    pub carrier_backend: Option<Spanned<BackendChoice>>,
    /// Whether the kernel carries plain packets of those that are tun.
    pub fast_path: Option<Spanned<FastChoice>>,
    /// Networks that the hoster delivers on the uplink's link, beyond what its routes tell.
    pub on_link: Vec<Spanned<Ipv6Net>>,
    /// Which address neighbours there are answered from.
    pub neighbour_source: Option<Spanned<SourceWord>>,
    /// Where clients of tunnels tell their endpoints by HTTP.
    pub update_url: Option<Spanned<UpdateUrl>>,
    /// Whether requests come there within TLS, which can also be told of a URL that is otherwise wrong.
    pub update_tls: Option<Spanned<bool>>,
    /// The file with the certificate that goes with it.
    pub certificate: Option<Spanned<String>>,
    /// The file with the certificate's key.
    pub certificate_key: Option<Spanned<String>>,
    /// The keys that stand in the section, legal or not.
    pub keys: Vec<String>,
}

/// Which address neighbours are answered from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SourceWord {
    /// The uplink's link-local one.
    LinkLocal,
    /// The host's `ipv6`.
    Global,
    /// The one of both that is of the kind that was asked from.
    AsAsked,
}

/// The keys of the section.
pub(super) const KEYS: &[&str] = &[
    "uplink",
    "ipv4",
    "gateway4",
    "ipv6",
    "mtu",
    "carrier-backend",
    "fast-path",
    "on-link",
    "neighbour-source",
    "update-url",
    "certificate",
    "certificate-key",
];
const SOURCES: &[(&str, SourceWord)] = &[
    ("link-local", SourceWord::LinkLocal),
    ("global", SourceWord::Global),
    ("as-asked", SourceWord::AsAsked),
];
const BACKENDS: &[(&str, BackendChoice)] =
    &[("auto", BackendChoice::Auto), ("kernel", BackendChoice::Kernel), ("tun", BackendChoice::Tun)];

pub(super) fn read(reader: &mut Reader, name: String, section: &Section<'_>) -> Host {
    Host {
        name: Spanned { value: name, span: section.span.clone() },
        uplink: section.required(
            reader,
            "uplink",
            "\"eth0\", the device that leads to the internet",
            value::device,
        ),
        ipv4: section.distinct(reader, "ipv4", value::ipv4_net),
        gateway4: section.optional(reader, "gateway4", value::ipv4),
        ipv6: section.optional(reader, "ipv6", value::ipv6),
        mtu: section.number(reader, "mtu", 1280..=65535),
        carrier_backend: section.choice(reader, "carrier-backend", BACKENDS),
        fast_path: section.choice(reader, "fast-path", value::FAST_PATH),
        on_link: section.distinct(reader, "on-link", tunnel6::network),
        neighbour_source: section.choice(reader, "neighbour-source", SOURCES),
        update_url: section.optional(reader, "update-url", update_url::read),
        // What is complained of a second time is told once.
        update_tls: section.optional(reader, "update-url", update_url::is_secured),
        certificate: section.optional(reader, "certificate", value::path),
        certificate_key: section.optional(reader, "certificate-key", value::path),
        keys: section.keys(),
    }
}
