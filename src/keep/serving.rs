//! What serves the bridges of a plan: the loops of carriers and those of translators.

use std::collections::BTreeMap;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::Arc;

use serde_json::{Value, json};
use straddle_intent::plan::{Bridge, Carrier, Translator, Via};
use straddle_kernel::open_queues;
use straddle_serve::{carrier, translator};

use crate::complaint::Complaint;

use super::discovery::Found;

/// Running loops; they end when this is dropped.
pub(super) struct Serving {
    carriers: carrier::Serving,
    translators: translator::Serving,
}

impl Serving {
    /// Opens the devices and starts the loops; the host is in step by then.
    pub(super) fn begin(bridges: &[Bridge], found: &Found) -> Result<Serving, Complaint> {
        let mut carriers = Vec::new();
        let mut devices = Devices::new();
        let mut translators = Vec::new();
        for bridge in bridges {
            match &bridge.via {
                Via::Carrier(carrier) => carriers.push(self::carrier(&bridge.name, carrier, &mut devices)?),
                Via::Translator(translator) => {
                    translators.push(self::translator(&bridge.name, translator, found)?);
                }
                Via::Awaited(_) => {}
            }
        }
        Ok(Serving {
            carriers: carrier::Serving::begin(carriers).map_err(not_served)?,
            translators: translator::Serving::begin(translators).map_err(not_served)?,
        })
    }

    /// Can be read from once a loop has ended by itself.
    pub(super) fn ended(&self) -> [BorrowedFd<'_>; 2] {
        [self.carriers.ended(), self.translators.ended()]
    }

    /// Has a bridge translate by what was found from here on; no packet is lost.
    pub(super) fn tell(&self, bridge: &str, translator: &Translator, found: &Found) -> bool {
        self.translators.exchange(bridge, told(bridge, translator, found))
    }

    /// The counters of every bridge.
    pub(super) fn report(&self, found: &Found) -> Vec<Value> {
        let carriers = self.carriers.report().into_iter().map(|report| json!(report));
        let translators = self.translators.report().into_iter().map(|report| {
            let mut value = json!(report);
            if let Some(state) = found.get(&report.bridge) {
                let prefixes = state.found.iter().flat_map(|found| &found.prefixes);
                value["prefixes"] = prefixes.map(ToString::to_string).collect();
                value["prefix_from"] = json!(state.found.as_ref().map(|found| found.source.to_string()));
                value["troubles"] = json!(state.troubles);
            }
            value
        });
        carriers.chain(translators).collect()
    }
}

/// The queues of each device that was opened: carriers may share one.
type Devices = BTreeMap<String, Arc<Vec<OwnedFd>>>;

fn carrier(bridge: &str, carrier: &Carrier, devices: &mut Devices) -> Result<carrier::Carrier, Complaint> {
    let queues = match devices.get(&carrier.device) {
        Some(queues) => queues.clone(),
        None => {
            let queues = Arc::new(open_queues(&carrier.device, processors()).map_err(not_served)?);
            devices.insert(carrier.device.clone(), queues.clone());
            queues
        }
    };
    Ok(carrier::Carrier {
        bridge: bridge.into(),
        kind: carrier.kind,
        local: carrier.local,
        remote: carrier.remote,
        mtu: u16::try_from(carrier.mtu.value).unwrap_or(u16::MAX),
        inner6: carrier.inner6,
        owned: carrier.owned.iter().map(|net| (net.network(), net.prefix_len())).collect(),
        queues,
    })
}

fn translator(
    bridge: &str,
    translator: &Translator,
    found: &Found,
) -> Result<translator::Translator, Complaint> {
    Ok(translator::Translator {
        bridge: bridge.into(),
        translator: told(bridge, translator, found),
        queues: open_queues(&translator.device, processors()).map_err(not_served)?,
    })
}

fn told(bridge: &str, translator: &Translator, found: &Found) -> Arc<straddle_xlat::Translator> {
    let mut config = translator.config.clone();
    let state = found.get(bridge).filter(|_| translator.discovers.is_some());
    if let Some(found) = state.and_then(|state| state.found.as_ref()) {
        config.pool6.clone_from(&found.prefixes);
    }
    Arc::new(straddle_xlat::Translator::new(config))
}

/// A queue for each; more than four help nobody.
fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from).min(4)
}

fn not_served(why: impl ToString) -> Complaint {
    Complaint::NotServed(why.to_string())
}
