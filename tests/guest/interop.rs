//! Every kind of carrier, each end in either make: the kernel's device and ours speak the same.

use std::net::IpAddr;
use std::time::Duration;

use straddle_encap::Kind;
use straddle_lab::LabError;
use straddle_lab::host::Host;
use straddle_lab::probe::{datagrams, transfer};
use straddle_lab::wait;
use straddle_lab::world::{World, WorldOptions};

use crate::pair::{
    End, KINDS, Make, PINGS, answered, borrower, clear, lender, pinged, refused, underlay, world,
};
use crate::turn;

const MAKES: [(Make, Make); 4] = [
    (Make::Kernel, Make::Kernel),
    (Make::Kernel, Make::Tun),
    (Make::Tun, Make::Kernel),
    (Make::Tun, Make::Tun),
];

/// Inner addresses of lender and borrower, and the headers of a ping between them in bytes.
fn inner(kind: Kind) -> ([&'static str; 2], usize) {
    match kind {
        Kind::Ip6gre { .. } | Kind::Ip4ip6 => (["10.99.0.1", "10.99.0.2"], 28),
        Kind::Sit => (["fd99::1", "fd99::2"], 48),
    }
}

#[test]
fn both_makes_speak_the_same() -> Result<(), LabError> {
    let _turn = turn();
    let world = world(WorldOptions::default())?;
    for kind in KINDS {
        for (one, other) in MAKES {
            let what = format!("{kind:?}, {one:?} to {other:?}");
            println!("{what}");
            let ends = [lender(&world, kind, one)?, borrower(&world, kind, other)?];
            both_ways(&world, kind, &what)?;
            marks(&world, kind, &what)?;
            narrowed(&world, kind, &what)?;
            lost_nothing(&ends, &what);
            drop(ends);
            clear(&world)?;
        }
    }
    Ok(())
}

fn both_ways(world: &World, kind: Kind, what: &str) -> Result<(), LabError> {
    let ([here, there], headers) = inner(kind);
    let mtu = 1500 - usize::from(kind.overhead());
    for (from, to, target) in
        [(&world.lender, &world.borrower, there), (&world.borrower, &world.lender, here)]
    {
        let way = format!("{what}, from {}", from.name());
        assert!(answered(from, target, 56)?, "{way}: ping");
        assert!(answered(from, target, mtu - headers)?, "{way}: ping of {mtu} bytes");
        assert!(refused(from, target, mtu - headers + 1)?, "{way}: larger than {mtu} bytes");
        flows(from, to, target, &way)?;
    }
    Ok(())
}

fn flows(from: &Host, to: &Host, target: &str, way: &str) -> Result<(), LabError> {
    let target: IpAddr = target.parse().unwrap();
    let took = transfer(from, to, target, MEGABYTE)?;
    println!("  {way}: a megabyte of TCP in {:.2} s", took.map_or(f64::NAN, |took| took.as_secs_f64()));
    assert!(took.is_some(), "{way}: TCP");
    for size in [0, 1, 1200, 8192] {
        assert_eq!(datagrams(from, to, target, 5, size)?, 5, "{way}: UDP of {size} bytes");
    }
    Ok(())
}

/// A link on the way takes only 1,400 bytes: the sender hears of it, and of the size that fits.
fn narrowed(world: &World, kind: Kind, what: &str) -> Result<(), LabError> {
    let ([here, there], headers) = inner(kind);
    let fits = 1400 - usize::from(kind.overhead());
    for (from, target, link) in [(&world.lender, there, "borrower"), (&world.borrower, here, "hoster")] {
        let way = format!("{what}, from {}, narrow", from.name());
        world.inet.ip(&format!("link set {link} mtu 1400"))?;
        let told = wait::until(&format!("{way}: the sender to be told"), PATIENCE, || {
            told(from, target, fits - headers + 1)
        })?;
        assert_eq!(told, fits, "{way}: the size that the sender is told");
        assert!(answered(from, target, fits - headers)?, "{way}: ping of {fits} bytes");
        assert!(refused(from, target, fits - headers + 1)?, "{way}: larger than {fits} bytes");
        world.inet.ip(&format!("link set {link} mtu 1500"))?;
    }
    // What the hosts have learnt of the way is not the next carrier's.
    for (host, family) in
        [(&world.lender, "-6"), (&world.lender, "-4"), (&world.borrower, "-6"), (&world.borrower, "-4")]
    {
        host.run(&["ip", family, "route", "flush", "cache"])?;
    }
    Ok(())
}

/// The MTU that a ping of this many bytes of payload is told, if it is told one.
fn told(from: &Host, target: &str, size: usize) -> Option<usize> {
    let size = size.to_string();
    let words = ["ping", "-n", "-c", "1", "-W", "1", "-M", "do", "-s", &size, target];
    let said = from.try_run(&words).ok()?;
    let said = said.stdout + &said.stderr;
    let mtu = said.split_once("mtu")?.1.trim_start_matches([' ', '=', ':']);
    mtu.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

/// DSCP EF and ECT(0), seen outside on the way and inside at the end.
fn marks(world: &World, kind: Kind, what: &str) -> Result<(), LabError> {
    let ([here, there], _) = inner(kind);
    let (family, word) = if kind == Kind::Sit { ("ip", "ip6") } else { ("ip6", "ip") };
    let outer = kind.protocol();
    let protocol = if family == "ip6" { "meta l4proto" } else { "ip protocol" };
    world.inet.nft(&format!(
        "table inet marks {{
            counter outside {{ }}
            chain forward {{
                type filter hook forward priority 0;
                {family} dscp ef {family} ecn ect0 {protocol} {outer} counter name outside
            }}
        }}
        "
    ))?;
    let counting = format!(
        "table inet marks {{
            counter inside {{ }}
            chain input {{
                type filter hook input priority 0;
                iifname st-test {word} dscp ef {word} ecn ect0 counter name inside
            }}
        }}
        "
    );
    for (from, to, target) in
        [(&world.lender, &world.borrower, there), (&world.borrower, &world.lender, here)]
    {
        to.nft(&counting)?;
        let before = counted(&world.inet, "outside")?;
        // EF is 46, 184 as a traffic class; ECT(0) is 2.
        assert!(pinged(from, target, 56, &["-Q", "186"])?, "{what}: marked ping");
        let way = format!("{what}, from {}", from.name());
        assert_eq!(counted(to, "inside")?, PINGS, "{way}: inside");
        // The answers carry the mark back.
        assert_eq!(counted(&world.inet, "outside")? - before, 2 * PINGS, "{way}: outside");
        to.nft("delete table inet marks\n")?;
    }
    world.inet.nft("delete table inet marks\n")
}

fn counted(host: &Host, name: &str) -> Result<u64, LabError> {
    let listed = host.nft_json(&format!("list counter inet marks {name}"))?;
    let packets = listed["nftables"]
        .as_array()
        .unwrap()
        .iter()
        .find_map(|object| object["counter"]["packets"].as_u64());
    Ok(packets.unwrap_or(0))
}

/// Packets that don't fit are answered; nothing else is lost in a tun end.
fn lost_nothing(ends: &[End; 2], what: &str) {
    for end in ends {
        let lost = end.drops();
        let wanted = |name: &str| ["too-big", "inner-version"].contains(&name);
        assert!(lost.iter().all(|(name, _)| wanted(name)), "{what}: {lost:?}");
    }
}

/// The other end as iproute2 makes it by default: encapsulation limit 4, its own hop limit.
#[test]
fn iproute2s_defaults_at_the_other_end_work() -> Result<(), LabError> {
    let _turn = turn();
    let world = world(WorldOptions::default())?;
    for kind in [Kind::Ip6gre { key: None }, Kind::Ip4ip6, Kind::Sit] {
        for make in [Make::Kernel, Make::Tun] {
            let what = format!("{kind:?}, {make:?} to iproute2's defaults");
            println!("{what}");
            let ours = lender(&world, kind, make)?;
            let (remote, local) = underlay(kind);
            let typed = match kind {
                Kind::Ip6gre { .. } => "ip6gre",
                Kind::Ip4ip6 => "ip6tnl mode ipip6",
                Kind::Sit => "sit",
            };
            let ([here, there], _) = inner(kind);
            world.borrower.ip(&format!(
                "link add st-test type {typed} local {local} remote {remote}\nlink set st-test up\n\
                 address add 10.99.0.2/30 dev st-test\naddress add fd99::2/64 dev st-test nodad"
            ))?;
            for (from, to, target) in
                [(&world.lender, &world.borrower, there), (&world.borrower, &world.lender, here)]
            {
                let way = format!("{what}, from {}", from.name());
                assert!(pinged(from, target, 56, &[])?, "{way}: ping");
                flows(from, to, target, &way)?;
            }
            drop(ours);
            clear(&world)?;
        }
    }
    Ok(())
}

const MEGABYTE: usize = 1_000_000;
const PATIENCE: Duration = Duration::from_secs(15);
