//! Uplinks of other kinds than a network card's: carriers leave by them fast, and come in by them fast.
//!
//! ```text
//!  client ── inet ══ up0 above the cable, or instead of it ══ borrower
//!              └──── switch ──── lender
//! ```

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::thread;

use rustix::fs::{OFlags, fcntl_setfl};
use straddle_kernel::open_queues;
use straddle_lab::host::Host;
use straddle_lab::straddle::Straddle;
use straddle_lab::world::{BORROWED, CLIENT, UPLINK, World, WorldOptions};
use straddle_lab::{Carrier, LabError};

use crate::fast::{LIMIT, while_bytes_flow};
use crate::fast_carrier::{behind_the_uplink, carried};
use crate::{CARRIERS, exe, turn};

/// The borrower's address is moved to `up0`; bytes flow both ways, and in bulk all packets go fast.
fn carry_fast(world: &World, carrier: Carrier, what: &str) -> Result<(), LabError> {
    world.borrower.ip("
        address del 2001:db8:eec0::2/64 dev eth0
        address add 2001:db8:eec0::2/64 dev up0 nodad
        route replace default via 2001:db8:eec0::1 dev up0
    ")?;
    let text = straddle_lab::straddle::config(carrier, "require");
    let (lender, borrower) = text.split_once("[host.borrower]").unwrap();
    let text = format!("{lender}[host.borrower]{}", borrower.replacen(UPLINK, "up0", 1));
    let straddle = Straddle::with_config(world, exe(), &text)?;
    let hosts = [straddle.on(&world.lender), straddle.on(&world.borrower)];
    let running = [hosts[0].run()?, hosts[1].run()?];
    assert_eq!(behind_the_uplink(&world.borrower).map(|program| program.dev), Some("up0".into()));
    let ends = [(&world.client, &world.borrower, BORROWED), (&world.borrower, &world.client, CLIENT)];
    for (from, to, target) in ends {
        while_bytes_flow((from, to), target.into(), |flow| flow.goes_on(what))?;
    }
    for host in &hosts {
        let (fast, slow) = carried(host)?;
        assert!(fast > 99 * slow, "{what}: {fast} packets went fast and {slow} slow");
    }
    hosts.iter().try_for_each(|host| host.down().map(drop))?;
    running.into_iter().try_for_each(|process| process.ends(LIMIT))
}

#[test]
fn carriers_go_fast_by_devices_above_the_cable() -> Result<(), LabError> {
    let Some(_turn) = turn("carriers_go_fast_by_devices_above_the_cable") else { return Ok(()) };
    for above in [
        "link add up0 type bridge\nlink set eth0 master up0",
        "link add up0 link eth0 type macvlan mode bridge\nlink set eth0 promisc on",
    ] {
        let world = World::build(WorldOptions::default())?;
        world.borrower.ip(&format!("{above}\nlink set up0 up"))?;
        carry_fast(&world, Carrier::Ip6gre, above)?;
    }
    Ok(())
}

/// A tun device has no link header, neither in what it is sent nor in what comes in by it.
#[test]
fn carriers_go_fast_by_a_tun_device() -> Result<(), LabError> {
    let Some(_turn) = turn("carriers_go_fast_by_a_tun_device") else { return Ok(()) };
    for carrier in CARRIERS {
        let world = World::build(WorldOptions::default())?;
        world.inet.ip("address del 2001:db8:eec0::1/64 dev borrower")?;
        join([&world.inet, &world.borrower])?;
        world.inet.ip("address add 2001:db8:eec0::1/64 dev up0 nodad")?;
        carry_fast(&world, carrier, "by tun")?;
        // Whoever reads from a device holds its host's namespace.
        [&world.inet, &world.borrower].iter().try_for_each(|host| host.ip("link del up0"))?;
    }
    Ok(())
}

/// A tun device `up0` at each host; what one is sent comes in by the other, until they go.
fn join(hosts: [&Host; 2]) -> Result<(), LabError> {
    let [here, there] = hosts.map(|host| -> Result<File, LabError> {
        host.run(&["ip", "tuntap", "add", "mode", "tun", "name", "up0", "multi_queue", "vnet_hdr"])?;
        let queue = host.inside(|| open_queues("up0", 1).unwrap().remove(0))?;
        host.ip("link set up0 up")?;
        fcntl_setfl(&queue, OFlags::empty()).unwrap();
        Ok(queue.into())
    });
    let (here, there) = (here?, there?);
    let ways = [(here.try_clone().unwrap(), there.try_clone().unwrap()), (there, here)];
    for (mut from, mut to) in ways {
        thread::spawn(move || {
            let mut room = vec![0; 1 << 17];
            while let Ok(count) = from.read(&mut room) {
                // A device that is down takes nothing.
                let _ = to.write_all(room.get(..count).unwrap());
            }
        });
    }
    Ok(())
}
