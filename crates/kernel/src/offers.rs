//! Which tunnel devices this kernel makes. Asked by trying, in a network namespace that ends with the
//! thread that asks: the host itself keeps nothing of it but a loaded module.

use std::net::{Ipv4Addr, Ipv6Addr};

use straddle_intent::object::{Format, Link, LinkKind, Tunnel};
use straddle_intent::plan::Offers;

use crate::netlink::{Socket, link};
use crate::{Error, fast};

/// Asks for a device of each kind, and then for the programs that `programs` names, which is told the answers so far.
///
/// # Errors
/// Without the right to make a namespace, or a thread.
pub fn offers(programs: impl Fn(&Offers) -> Vec<&'static str> + Sync) -> Result<Offers, Error> {
    std::thread::scope(|scope| {
        let asking = std::thread::Builder::new().name("offers".into()).spawn_scoped(scope, || ask(&programs));
        let asked = asking.map_err(Error::call("thread"))?.join();
        asked.unwrap_or_else(|_| Ok(Offers::default()))
    })
}

fn ask(programs: &dyn Fn(&Offers) -> Vec<&'static str>) -> Result<Offers, Error> {
    // SAFETY: only this thread leaves the namespace, and it opens every descriptor that it uses afterwards.
    let left = unsafe { rustix::thread::unshare_unsafe(rustix::thread::UnshareFlags::NEWNET) };
    left.map_err(|errno| Error::call("a network namespace to ask in")(errno.into()))?;
    let mut socket = Socket::open()?;
    let kinds = [Format::Ip6gre { key: None }, Format::Ip4ip6, Format::Sit];
    let one = |format: Format| match link::make(&mut socket, &example(format)) {
        Ok(()) => (format.word(), None),
        Err(Error::Netlink { why, .. }) => (format.word(), Some(why)),
        Err(error) => (format.word(), Some(error.to_string())),
    };
    let mut offers = Offers(kinds.map(one).into_iter().collect());
    for program in programs(&offers) {
        let refusal = match program {
            Offers::FAST_DIRECT => fast::direct_refusal(),
            Offers::FAST_OUTWARD => fast::outward_refusal(),
            Offers::FAST_INWARD | Offers::FAST_LENDER => fast::inward_refusal(),
            _ => fast::refusal(),
        };
        offers.0.insert(program, refusal);
    }
    offers.0.insert(Offers::TCX, fast::tcx_refusal());
    Ok(offers)
}

/// A tunnel to nowhere (RFC 5737, RFC 3849).
fn example(format: Format) -> Link {
    let v6 = |last: u16| Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, last).into();
    let v4 = |last: u8| Ipv4Addr::new(192, 0, 2, last).into();
    let (local, remote) = match format {
        Format::Ip6gre { .. } | Format::Ip4ip6 => (v6(1), v6(2)),
        Format::Sit => (v4(1), v4(2)),
    };
    let tunnel = Tunnel { format, local, remote, hop_limit: 64, copy_class: true, encap_limit: None };
    Link {
        name: format!("ask-{}", format.word()),
        kind: LinkKind::Tunnel(tunnel),
        mtu: 1400,
        up: false,
        bridge: None,
    }
}
