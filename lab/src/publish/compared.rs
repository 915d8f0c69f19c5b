//! The way through the carrier beside native IPv6, as people compare them: small requests, and pings.

use crate::LabError;
use crate::host::Host;
use crate::probe::{Requests, ping, requests};
use crate::report::Check;
use crate::world::DsLite;

use super::PublishVariant;

/// A hundred of each.
pub(super) fn ways(world: &DsLite, variant: PublishVariant) -> Result<Vec<Check>, LabError> {
    let (client, native) = (&world.client, format!("[{}]:443", DsLite::FIRST6));
    let mut checks = vec![
        asked(client, "through the carrier", &format!("{}:443", DsLite::PUBLIC))?,
        asked(client, "by native IPv6", &native)?,
    ];
    // The VPS itself answers pings where it has kept a part of the address.
    if variant == PublishVariant::Address {
        checks.push(pinged(client, "IPv4", DsLite::PUBLIC.into())?);
    }
    checks.push(pinged(client, "IPv6", DsLite::FIRST6.into())?);
    Ok(checks)
}

/// A hundred small HTTP requests to an address and port, whatever leads there.
fn asked(client: &Host, way: &str, authority: &str) -> Result<Check, LabError> {
    let requests = requests(client, authority, MANY)?;
    let Requests { answered, ms, .. } = requests;
    let measured = ms.map_or_else(
        || format!("{answered} answered"),
        |[min, mean, max, mdev]| {
            let total = mean * f64::from(answered) / 1e3;
            format!("{total:.3} s; min/avg/max/mdev {min:.2}/{mean:.2}/{max:.2}/{mdev:.2} ms")
        },
    );
    Ok(Check::new(format!("{MANY} HTTP requests {way}"), requests.complete(), measured))
}

fn pinged(client: &Host, family: &str, target: std::net::IpAddr) -> Result<Check, LabError> {
    let ping = ping(client, target, MANY)?;
    let measured = ping.rtt_ms.zip(ping.mdev_ms).map_or_else(
        || format!("{} answered", ping.received),
        |([min, mean, max], mdev)| format!("min/avg/max/mdev {min:.3}/{mean:.3}/{max:.3}/{mdev:.3} ms"),
    );
    Ok(Check::new(format!("{MANY} pings by {family}"), ping.complete(), measured))
}

const MANY: u32 = 100;
