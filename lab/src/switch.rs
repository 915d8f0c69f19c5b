//! The hoster's switch: a bridge that knows which link-layer address belongs on which port.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::LabError;
use crate::host::Host;
use crate::world::LENDER_MAC;

/// What the switch does with frames from the lender's port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Filter {
    /// As many hosters do: any source but the lender's own link-layer address is dropped.
    LenderOnly,
    /// Everything passes; the counters count all the same.
    Off,
}

/// Frames from the lender's port, by their source address.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Frames {
    /// With the lender's own address.
    pub own: u64,
    /// With any other.
    pub foreign: u64,
}

impl Frames {
    /// How many there were since `before`.
    #[must_use]
    pub fn since(self, before: Frames) -> Frames {
        Frames { own: self.own - before.own, foreign: self.foreign - before.foreign }
    }
}

/// The switch between the hoster's router and the lender.
#[derive(Debug)]
pub struct Switch {
    host: Host,
}

impl Switch {
    pub(crate) fn new(host: Host) -> Switch {
        Switch { host }
    }

    /// The namespace that the switch is.
    #[must_use]
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// Sets the filter, and the counters to zero.
    ///
    /// # Errors
    /// When nft refuses.
    pub fn set_filter(&self, filter: Filter) -> Result<(), LabError> {
        let verdict = match filter {
            Filter::LenderOnly => "drop",
            Filter::Off => "accept",
        };
        self.host.nft(&format!(
            "table bridge hoster
            delete table bridge hoster
            table bridge hoster {{
                counter own {{ }}
                counter foreign {{ }}
                chain lender {{
                    type filter hook prerouting priority -300; policy accept;
                    iifname \"lender\" ether saddr {LENDER_MAC} counter name \"own\" accept
                    iifname \"lender\" counter name \"foreign\" {verdict}
                }}
            }}
            "
        ))
    }

    /// The counters.
    ///
    /// # Errors
    /// When nft fails.
    pub fn frames(&self) -> Result<Frames, LabError> {
        let counters = packets(&self.host, "bridge", "hoster")?;
        let of = |name: &str| counters.get(name).copied().unwrap_or_default();
        Ok(Frames { own: of("own"), foreign: of("foreign") })
    }
}

/// Packets seen by each named counter of a table.
pub(crate) fn packets(host: &Host, family: &str, table: &str) -> Result<BTreeMap<String, u64>, LabError> {
    let answer = host.nft_json(&format!("list counters table {family} {table}"))?;
    let objects = answer.get("nftables").and_then(|list| list.as_array());
    let counters = objects.into_iter().flatten().filter_map(|object| {
        let counter = object.get("counter")?;
        let name = counter.get("name")?.as_str()?.to_owned();
        Some((name, counter.get("packets")?.as_u64()?))
    });
    Ok(counters.collect())
}
