//! Which host of the file this one is, and what the file says of it that isn't so.

mod networks;

use std::net::IpAddr;

use ipnet::{IpNet, Ipv6Net};
use straddle_encap::Kind;

use crate::config::{Diagnostic, Spanned};
use crate::model::{Address6, BackendChoice, Borrow, FastChoice, Host, Model, Prefix64};
use crate::object::{Link, Origin};
use crate::plan::{Backend, Ending, Make, Offers, kind_word, present, rooms};
use crate::snapshot::Snapshot;

/// Why this host was not recognised.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unknown {
    /// No host of the file has an address of this one.
    Nobody,
    /// Several have.
    Several(Vec<String>),
    /// The file knows no host of the name that was given.
    NoSuchName(String),
}

/// The host of the file that this one is: by the name given, else by its addresses.
///
/// # Errors
/// When neither tells.
pub fn identify<'a>(model: &'a Model, given: Option<&str>, live: &Snapshot) -> Result<&'a Host, Unknown> {
    if let Some(name) = given {
        return model
            .hosts
            .iter()
            .find(|host| host.name == name)
            .ok_or_else(|| Unknown::NoSuchName(name.into()));
    }
    let has = |address: IpAddr| live.holder(address).next().is_some();
    let here = |host: &&Host| host.ipv6.as_ref().is_some_and(|address| has(address.value.into()));
    let by_ipv6: Vec<&Host> = model.hosts.iter().filter(here).collect();
    let by_ipv4 =
        || model.hosts.iter().filter(|host| host.ipv4.iter().any(|net| has(net.addr().into()))).collect();
    let found: Vec<&Host> = if by_ipv6.is_empty() { by_ipv4() } else { by_ipv6 };
    match found.as_slice() {
        [host] => Ok(host),
        // The only host of a file that names no address: there is nobody else whom it could mean.
        [] if let [host] = model.hosts.as_slice()
            && host.ipv6.is_none()
            && host.ipv4.is_empty() =>
        {
            Ok(host)
        }
        [] => Err(Unknown::Nobody),
        several => Err(Unknown::Several(several.iter().map(|host| host.name.clone()).collect())),
    }
}

/// What the file says of this host that isn't so.
pub fn check(model: &Model, host: &Host, live: &Snapshot, offers: &Offers) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    found.extend(kernel_lacks(model, host, offers));
    found.extend(no_fast_path(model, host, offers));
    found.extend(match no_fast_carrier(model, host, offers) {
        Some(lacks) => vec![lacks],
        None => no_direct_lender(model, host, offers),
    });
    found.extend(not_here(host, live));
    found.extend(no_room(model, host, live));
    found.extend(own_address(model, host, live));
    found.extend(networks::taken(model, host, live));
    found.extend(taken_prefix(model, host, live));
    found.extend(not_incoming(model, host, live));
    found.extend(no_device(&host.uplink, "the device of the default route", live));
    for dev in links(model, host) {
        found.extend(no_device(dev, "the device that the next hop is on", live));
    }
    found.dedup();
    found
}

fn no_device(dev: &Spanned<String>, what: &str, live: &Snapshot) -> Option<Diagnostic> {
    let ours = |link: &&Link| link.bridge.is_none() && link.name != "lo";
    let names: Vec<&str> = live.links.iter().filter(ours).map(|link| link.name.as_str()).collect();
    let message = format!("this host has no device `{}`", dev.value);
    let help = format!("write {what}; this host has {}", names.join(", "));
    live.link(&dev.value).is_none().then(|| Diagnostic::new(dev.span.clone(), message, help))
}

/// Devices whose packets shall go past a translator's.
fn not_incoming(model: &Model, host: &Host, live: &Snapshot) -> Vec<Diagnostic> {
    let siits = model.siits.iter().filter(|siit| siit.host == host.name);
    let told = siits.flat_map(|siit| &siit.direct).filter_map(|dev| {
        if live.link(&dev.value).is_some_and(|link| link.bridge.is_some()) {
            let message = format!("`{}` is a device of straddle's own", dev.value);
            let help = "write the device that packets for the translator come in by";
            return Some(Diagnostic::new(dev.span.clone(), message, help));
        }
        no_device(dev, "a device that packets for the translator come in by", live)
    });
    told.collect()
}

/// The devices that next hops are on; the uplink has its own words.
fn links<'a>(model: &'a Model, host: &'a Host) -> impl Iterator<Item = &'a Spanned<String>> {
    let own = model.via6s.iter().filter(|via6| via6.host == host.name).flat_map(|via6| &via6.gateways);
    let router = model.via6s.iter().filter_map(|via6| via6.router.as_ref());
    let back = router.filter(|router| router.host == host.name).flat_map(|router| &router.hops);
    own.chain(back).map(|hop| &hop.dev).filter(|dev| dev.span != host.uplink.span)
}

/// Carriers end at an address that this host must have.
fn not_here(host: &Host, live: &Snapshot) -> Option<Diagnostic> {
    let endpoint =
        host.ipv6.as_ref().filter(|endpoint| live.holder(endpoint.value.into()).next().is_none())?;
    let on_uplink = live.addresses.iter().filter(|held| held.dev == host.uplink.value);
    let global = on_uplink.filter_map(|held| match held.net.addr() {
        IpAddr::V6(address) if !address.is_unicast_link_local() => Some(address.to_string()),
        IpAddr::V6(_) | IpAddr::V4(_) => None,
    });
    let known: Vec<String> = global.collect();
    let help = match known.is_empty() {
        true => "add the address to this host first; carriers end at it".into(),
        false => format!("write an address that this host keeps, such as {}", known.join(", ")),
    };
    Some(Diagnostic::new(
        endpoint.span.clone(),
        format!("this host has no address `{}`", endpoint.value),
        help,
    ))
}

/// A CLAT needs an IPv6 address of its own; one that is routed to the host can't be seen here.
fn no_room(model: &Model, host: &Host, live: &Snapshot) -> Option<Diagnostic> {
    let clat = model.clats.iter().find(|clat| clat.host == host.name && clat.address6 == Address6::Auto)?;
    let uplink = &host.uplink.value;
    if !rooms(uplink, live).is_empty() || present(clat, live).is_some() {
        return None;
    }
    let held = live.addresses.iter().filter(|held| held.dev == *uplink).filter_map(|held| match held.net {
        IpNet::V6(net) if !net.addr().is_unicast_link_local() => Some(net.to_string()),
        IpNet::V6(_) | IpNet::V4(_) => None,
    });
    let held: Vec<String> = held.collect();
    let seen = if held.is_empty() { "no global address".to_string() } else { held.join(", ") };
    Some(Diagnostic::new(
        clat.span.clone(),
        format!("no IPv6 address can be chosen for {}: {uplink} has {seen}, and no /64 is on it", clat.name),
        "add prefix6 = \"2001:db8:1:2::/96\", the network that is routed to this host, \
         or address6 = \"…\", one address of it",
    ))
}

/// The kernel would keep the answers to an address of the host's own for itself.
fn own_address(model: &Model, host: &Host, live: &Snapshot) -> Option<Diagnostic> {
    let clat = model.clats.iter().find(|clat| clat.host == host.name)?;
    let Address6::Given(address) = clat.address6 else { return None };
    let held = live.holder(address.into()).next()?;
    Some(Diagnostic::new(
        clat.span.clone(),
        format!("`address6` is {address}, which this host has itself, on {}", held.dev),
        "write another address of a network that is routed to this host; it must be on no device",
    ))
}

/// What leads into a translator must be no address that this host has, or sends by: it would cut itself off.
fn taken_prefix(model: &Model, host: &Host, live: &Snapshot) -> Vec<Diagnostic> {
    let siits = model.siits.iter().filter(|siit| siit.host == host.name);
    let pools = siits.flat_map(|siit| siit.pool6.iter().copied().zip(siit.spans.iter().cloned()));
    let clats = model.clats.iter().filter(|clat| clat.host == host.name);
    let given = clats.filter_map(|clat| match clat.prefix64 {
        Prefix64::Given(prefix) => Some((prefix, clat.span.clone())),
        Prefix64::Discover => None,
    });
    let refused = pools.chain(given).filter_map(|(prefix, span)| {
        Some(Diagnostic::new(
            span,
            format!("`{prefix}` contains {}", needed(prefix.net(), live)?),
            "write a prefix that is used for translation alone: what is sent to its addresses goes into the translator",
        ))
    });
    refused.collect()
}

/// An address within this network that the host has, or sends by, in words.
fn needed(net: Ipv6Net, live: &Snapshot) -> Option<String> {
    let within = |address: IpAddr| IpNet::V6(net).contains(&address);
    let foreign = live.addresses.iter().filter(|held| held.origin != Origin::Straddle);
    for held in foreign {
        let (address, network) = (held.net.addr(), held.net.network());
        if within(address) {
            return Some(format!("{address}, which this host has on {}", held.dev));
        }
        // Of hosts it is the anycast address of their routers (RFC 4291 §2.6.1), and their first ones follow it.
        if within(network) {
            return Some(format!("the beginning of {}, the network of {}", held.net.trunc(), held.dev));
        }
    }
    let foreign = live.routes.iter().filter(|route| route.origin != Origin::Straddle);
    let hops = foreign
        .flat_map(|route| route.gateway.into_iter().chain(route.hops.iter().filter_map(|hop| hop.gateway)));
    let hop = hops.into_iter().find(|hop| within(*hop))?;
    Some(format!("{hop}, by which this host's routes go"))
}

/// The file wants the kernel's device where the kernel has none.
fn kernel_lacks(model: &Model, host: &Host, offers: &Offers) -> Option<Diagnostic> {
    let choice = host.backend.as_ref().filter(|choice| choice.value == BackendChoice::Kernel)?;
    let mut kinds = endings(model, host).map(|ending| ending.kind).filter(|kind| offers.knows(*kind));
    let (kind, why) = kinds.find_map(|kind| offers.refusal(kind).map(|why| (kind, why)))?;
    let message = format!("this kernel has no {}: {why}", kind_word(kind));
    let help = "write \"auto\" or \"tun\", or load the module (modprobe ip6_gre, ip6_tunnel or sit)";
    Some(Diagnostic::new(choice.span.clone(), message, help))
}

/// The carriers that end here.
fn endings(model: &Model, host: &Host) -> impl Iterator<Item = Ending> {
    let ends_here = |borrow: &&Borrow| [&borrow.lender.host, &borrow.borrower.host].contains(&&host.name);
    let ending = |borrow: &Borrow| Ending { kind: borrow.kind, direct: lends_directly(borrow, host) };
    let published = model
        .publishes
        .iter()
        .filter(|publish| [&publish.from.host, &publish.to.host].contains(&&host.name))
        .map(|publish| publish.kind);
    let tunnelled = model
        .tunnels6
        .iter()
        .filter(|tunnel| [&tunnel.server.host, &tunnel.client.host].contains(&&host.name))
        .map(|_| Kind::Sit);
    let borrowed = model.borrows.iter().filter(ends_here).map(ending);
    borrowed.chain(published.chain(tunnelled).map(Ending::from))
}

/// Whether packets shall go past the device of a carrier by which this host lends.
fn lends_directly(borrow: &Borrow, host: &Host) -> bool {
    borrow.direct.is_some() && borrow.lender.host == host.name
}

fn is_tun(model: &Model, host: &Host, ending: Ending, offers: &Offers) -> bool {
    Backend::choose(model, &host.name, ending, offers).make == Make::Tun
}

/// The programs of the fast path that the hosts of the file may use, by their words in [`Offers`]: to ask for one takes
/// the kernel some time.
pub fn programs(model: &Model, offers: &Offers) -> Vec<&'static str> {
    let translates = !model.siits.is_empty() || !model.clats.is_empty();
    let tun = |host: &Host| endings(model, host).any(|ending| is_tun(model, host, ending, offers));
    // What the kernel answers decides whether a lender's device is tun.
    let lends = model.borrows.iter().any(|borrow| borrow.direct.is_some());
    let carries = lends || model.hosts.iter().any(tun);
    let translator = translates.then_some(Offers::FAST_PATH);
    let direct = model.siits.iter().any(|siit| !siit.direct.is_empty()).then_some(Offers::FAST_DIRECT);
    let carrier = carries.then_some([Offers::FAST_OUTWARD, Offers::FAST_INWARD]);
    let lender = lends.then_some(Offers::FAST_LENDER);
    translator.into_iter().chain(direct).chain(carrier.into_iter().flatten()).chain(lender).collect()
}

/// The file wants the fast path for carriers where the kernel has none.
fn no_fast_carrier(model: &Model, host: &Host, offers: &Offers) -> Option<Diagnostic> {
    let choice = host.fast_path.as_ref().filter(|choice| choice.value == FastChoice::Require)?;
    let help = "write \"auto\": what the kernel does not carry goes the slow path";
    let refused = |word: &str| offers.0.get(word).cloned().flatten();
    let lacks = |what: &str, why: String| {
        let message = format!("this kernel's programs can't {what} packets: {why}");
        Diagnostic::new(choice.span.clone(), message, help)
    };
    if !endings(model, host).any(|ending| is_tun(model, host, ending, offers)) {
        return None;
    }
    let outward = refused(Offers::FAST_OUTWARD).map(|why| lacks("encapsulate", why));
    outward.or_else(|| refused(Offers::FAST_INWARD).map(|why| lacks("decapsulate", why)))
}

/// The file wants that packets go past a lender's device, where the kernel does not take the program.
fn no_direct_lender(model: &Model, host: &Host, offers: &Offers) -> Vec<Diagnostic> {
    let required = host.fast_path.as_ref().is_some_and(|choice| choice.value == FastChoice::Require);
    let asked = required && offers.knows_fast(Offers::FAST_LENDER);
    let Some(why) = asked.then(|| offers.past_refusal()).flatten() else { return Vec::new() };
    let here = model.borrows.iter().filter(|borrow| lends_directly(borrow, host));
    let spans = here.filter_map(|borrow| borrow.direct.clone());
    let message = format!("{SENDS_NOTHING}: {why}");
    spans.map(|span| Diagnostic::new(span, message.clone(), NOT_DIRECT)).collect()
}

const SENDS_NOTHING: &str = "this kernel takes no program that sends packets out at once";
const NOT_DIRECT: &str = "delete `direct`, or write fast-path = \"auto\"";

/// The file wants the fast path where the kernel has none.
fn no_fast_path(model: &Model, host: &Host, offers: &Offers) -> Vec<Diagnostic> {
    let here = || model.siits.iter().filter(|siit| siit.host == host.name);
    let refusal = |word: &str| offers.0.get(word).and_then(Option::as_ref);
    let Some(why) = refusal(Offers::FAST_PATH) else {
        let Some(why) = refusal(Offers::FAST_DIRECT) else { return Vec::new() };
        let required = here().filter(|siit| siit.translation.fast() == FastChoice::Require);
        let refused = required
            .filter_map(|siit| siit.direct.first())
            .map(|dev| Diagnostic::new(dev.span.clone(), format!("{SENDS_NOTHING}: {why}"), NOT_DIRECT));
        return refused.collect();
    };
    let siits = here().map(|siit| &siit.translation);
    let clats = model.clats.iter().filter(|clat| clat.host == host.name).map(|clat| &clat.translation);
    let required = siits.chain(clats).filter_map(|translation| translation.fast_path.as_ref());
    let required = required.filter(|choice| choice.value == FastChoice::Require);
    let refused = required.map(|choice| {
        let message = format!("this kernel does not take the fast path's program: {why}");
        Diagnostic::new(choice.span.clone(), message, "write \"auto\": all packets then go the slow path")
    });
    refused.collect()
}
