//! `carrier-backend = "auto"` takes what the kernel at hand has, and the plan says which and why.

use std::path::Path;

use straddle_lab::straddle::Straddle;
use straddle_lab::world::{World, WorldOptions};
use straddle_lab::{Carrier, LabError};

/// Whether this kernel makes the device, in its own words where it does not.
fn refusal(world: &World, kind: &str) -> Result<Option<String>, LabError> {
    let line = format!("ip link add asked type {kind} local 2001:db8::1 remote 2001:db8::2");
    let asked = world.borrower.try_run(&line.split(' ').collect::<Vec<_>>())?;
    if !asked.status.success() {
        return Ok(Some(asked.stderr));
    }
    world.borrower.ip("link del asked").map(|()| None)
}

/// Plans on both hosts with each kind of carrier. Returns whether the kernel had them.
pub(crate) fn auto_follows_the_kernel(exe: &Path) -> Result<Vec<bool>, LabError> {
    let world = World::build(WorldOptions::default())?;
    let kinds = [(Carrier::Ip6gre, "ip6gre", "ip6gre"), (Carrier::Ip4ip6, "ip4ip6", "ip6tnl mode ipip6")];
    let mut had = Vec::new();
    for (carrier, name, typed) in kinds {
        let refused = refusal(&world, typed)?;
        let straddle = Straddle::borrow(&world, exe, carrier)?;
        for host in [&world.lender, &world.borrower] {
            let planned = straddle.on(host).json("plan")?;
            let backend = &planned["plan"]["bridges"][0]["carrier"]["backend"];
            let why = backend["why"].as_str().unwrap_or_default();
            match &refused {
                None => assert_eq!(
                    (&backend["make"], why),
                    (&"kernel".into(), &*format!("this kernel has {name}"))
                ),
                Some(words) => {
                    assert_eq!(backend["make"], "tun", "{words}");
                    assert!(why.starts_with(&format!("this kernel has no {name}: ")), "{why}");
                }
            }
            assert_eq!(planned["needs_serving"], refused.is_some(), "{name}");
            let shown = straddle.on(host).verb(&["plan"])?.stdout;
            assert!(shown.contains(why.split(':').next().unwrap_or_default()), "{shown}");
        }
        had.push(refused.is_none());
    }
    Ok(had)
}
