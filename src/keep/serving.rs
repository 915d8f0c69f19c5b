//! What serves the bridges of a plan: the loops of carriers and those of translators. As with everything, what
//! shall be is compared with what is.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::Arc;

use serde_json::{Value, json};
use straddle_intent::plan::{Bridge, Carrier, Translator, Via};
use straddle_kernel::open_queues;
use straddle_serve::{carrier, translator};

use crate::complaint::Complaint;

use super::discovery::Found;
use super::is_readable;

/// Running loops; they end when this is dropped.
#[derive(Default)]
pub(super) struct Serving(Vec<Served>);

/// Bridges that share their loops.
struct Served {
    bridges: Vec<Bridge>,
    loops: Loops,
}

enum Loops {
    /// With the open devices.
    Carriers(carrier::Serving, Devices),
    Translator(translator::Serving),
}

impl Serving {
    /// Serves these bridges from here on; the host is in step by then. Whose serving is the same keeps its loops
    /// and its counters. What can't be served is told.
    pub(super) fn change(&mut self, wanted: &[&Bridge], found: &Found) -> Vec<Complaint> {
        let mut former = std::mem::take(&mut self.0);
        let (mut all, mut begins) = (Vec::new(), Vec::new());
        for bridges in together(wanted) {
            match former.iter().position(|served| served.may_serve(&bridges)) {
                Some(at) => all.push(former.swap_remove(at).serve(&bridges, found)),
                None => begins.push(bridges),
            }
        }
        // Two sockets for one carrier would hand each packet on twice.
        drop(former);
        all.extend(begins.into_iter().map(|bridges| Served::begin(&bridges, found)));
        let mut complaints = Vec::new();
        for served in all {
            match served {
                Ok(served) => self.0.push(served),
                Err(complaint) => complaints.push(complaint),
            }
        }
        complaints
    }

    /// What is served; nothing that could not begin.
    pub(super) fn bridges(&self) -> impl Iterator<Item = &Bridge> {
        self.0.iter().flat_map(|served| &served.bridges)
    }

    /// Each can be read from once a loop has ended by itself.
    pub(super) fn ended(&self) -> Vec<BorrowedFd<'_>> {
        self.0.iter().map(|served| served.loops.ended()).collect()
    }

    /// Has a bridge translate by what was found from here on; no packet is lost.
    pub(super) fn tell(&self, bridge: &Bridge, found: &Found) {
        for served in self.0.iter().filter(|served| served.bridges.contains(bridge)) {
            served.tell(found);
        }
    }

    /// The counters of every bridge.
    pub(super) fn report(&self, found: &Found) -> Vec<Value> {
        self.0.iter().flat_map(|served| served.loops.report(found)).collect()
    }
}

impl Served {
    /// Opens the devices and starts the loops.
    fn begin(bridges: &[&Bridge], found: &Found) -> Result<Served, Complaint> {
        let mut carriers = Vec::new();
        let mut devices = Devices::new();
        let mut translators = Vec::new();
        for bridge in bridges {
            match &bridge.via {
                Via::Carrier(carrier) => carriers.push(self::carrier(&bridge.name, carrier, &mut devices)?),
                Via::Translator(translator) => {
                    translators.push(self::translator(&bridge.name, translator, found)?);
                }
                // Relays are served by loops of their own.
                Via::Relay(_) | Via::Awaited(_) | Via::Routes(_) => {}
            }
        }
        let loops = if carriers.is_empty() {
            Loops::Translator(translator::Serving::begin(translators).map_err(not_served)?)
        } else {
            Loops::Carriers(carrier::Serving::begin(carriers).map_err(not_served)?, devices)
        };
        Ok(Served { bridges: owned(bridges), loops })
    }

    /// Whether its loops are right for these bridges: a translator may be told anything, and carriers what the peers
    /// are that their devices and their socket serve.
    fn may_serve(&self, bridges: &[&Bridge]) -> bool {
        if is_readable(self.loops.ended()) {
            return false;
        }
        match &self.loops {
            Loops::Carriers(_, devices) => {
                let wanted: BTreeSet<&str> = bridges.iter().filter_map(|bridge| bridge.device()).collect();
                let sockets = |bridges: &mut dyn Iterator<Item = &Bridge>| bridges.next().and_then(socket);
                sockets(&mut self.bridges.iter()) == sockets(&mut bridges.iter().copied())
                    && wanted.into_iter().eq(devices.keys().map(String::as_str))
            }
            Loops::Translator(_) => {
                let same = |(one, other): (&Bridge, &&Bridge)| {
                    one.name == other.name && one.device() == other.device()
                };
                self.bridges.len() == bridges.len() && self.bridges.iter().zip(bridges).all(same)
            }
        }
    }

    fn serve(mut self, bridges: &[&Bridge], found: &Found) -> Result<Served, Complaint> {
        if self.bridges.iter().eq(bridges.iter().copied()) {
            return Ok(self);
        }
        self.bridges = owned(bridges);
        self.tell(found);
        if let Loops::Carriers(loops, devices) = &mut self.loops {
            let mut carriers = Vec::new();
            for bridge in &self.bridges {
                if let Via::Carrier(carrier) = &bridge.via {
                    carriers.push(self::carrier(&bridge.name, carrier, devices)?);
                }
            }
            loops.exchange(carriers);
        }
        Ok(self)
    }

    fn tell(&self, found: &Found) {
        let Loops::Translator(loops) = &self.loops else { return };
        for bridge in &self.bridges {
            if let Via::Translator(translator) = &bridge.via {
                // They serve exactly these bridges, so none is unknown.
                let _ = loops.exchange(&bridge.name, told(&bridge.name, translator, found));
            }
        }
    }
}

impl Loops {
    fn ended(&self) -> BorrowedFd<'_> {
        match self {
            Loops::Carriers(loops, _) => loops.ended(),
            Loops::Translator(loops) => loops.ended(),
        }
    }

    fn report(&self, found: &Found) -> Vec<Value> {
        match self {
            Loops::Carriers(loops, _) => loops.report().into_iter().map(|report| json!(report)).collect(),
            Loops::Translator(loops) => {
                loops.report().into_iter().map(|report| translated(report, found)).collect()
            }
        }
    }
}

fn translated(report: translator::Report, found: &Found) -> Value {
    let mut value = json!(report);
    if let Some(state) = found.get(&report.bridge) {
        let prefixes = state.found.iter().flat_map(|found| &found.prefixes);
        value["prefixes"] = prefixes.map(ToString::to_string).collect();
        value["prefix_from"] = json!(state.found.as_ref().map(|found| found.source.to_string()));
        value["troubles"] = json!(state.troubles);
    }
    value
}

/// Carriers of one outer protocol and address of ours share a socket; everybody else is served alone.
fn together<'a>(wanted: &[&'a Bridge]) -> Vec<Vec<&'a Bridge>> {
    let mut groups: Vec<Vec<&Bridge>> = Vec::new();
    for bridge in wanted {
        let mate = |group: &&mut Vec<&Bridge>| {
            group.first().and_then(|first| socket(first)).is_some_and(|it| Some(it) == socket(bridge))
        };
        match groups.iter_mut().find(mate) {
            Some(group) => group.push(bridge),
            None => groups.push(vec![bridge]),
        }
    }
    groups
}

fn socket(bridge: &Bridge) -> Option<(u8, IpAddr)> {
    match &bridge.via {
        Via::Carrier(carrier) => Some((carrier.kind.protocol(), carrier.local)),
        Via::Translator(_) | Via::Relay(_) | Via::Awaited(_) | Via::Routes(_) => None,
    }
}

fn owned(bridges: &[&Bridge]) -> Vec<Bridge> {
    bridges.iter().copied().cloned().collect()
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

/// What a bridge translates by, with the prefixes that were found for it.
pub(super) fn config(bridge: &str, translator: &Translator, found: &Found) -> straddle_xlat::Config {
    let mut config = translator.config.clone();
    let state = found.get(bridge).filter(|_| translator.discovers.is_some());
    if let Some(found) = state.and_then(|state| state.found.as_ref()) {
        config.pool6.clone_from(&found.prefixes);
    }
    config
}

fn told(bridge: &str, translator: &Translator, found: &Found) -> Arc<straddle_xlat::Translator> {
    Arc::new(straddle_xlat::Translator::new(config(bridge, translator, found)))
}

/// A queue for each; more than four help nobody.
fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from).min(4)
}

fn not_served(why: impl ToString) -> Complaint {
    Complaint::NotServed(why.to_string())
}

#[cfg(test)]
mod tests {
    use straddle_intent::memory::Memory;
    use straddle_intent::plan::{Facts, Offers, plan};
    use straddle_intent::snapshot::Snapshot;

    use super::*;

    /// The names of those that share their loops.
    #[test]
    fn who_is_served_together() {
        let borrow = |name: &str, address: u8, carrier: &str| {
            format!(
                "[[borrow]]\nname = \"{name}\"\naddress = \"192.0.2.{address}\"\nfrom = \"lender\"\nto = \"here\"\n\
                 carrier = \"{carrier}\"\n"
            )
        };
        let siit = |name: &str, net: u8| {
            format!("[[siit]]\nname = \"{name}\"\nhost = \"here\"\npool6 = \"2001:db8:{net}::/96\"\n")
        };
        let entries = [
            borrow("gre", 7, "ip6gre"),
            siit("one", 1),
            borrow("plain", 8, "ip4ip6"),
            siit("two", 2),
            borrow("keyed", 9, "ip6gre") + "key = 7\n",
        ];
        let file = [HOSTS.to_string(), entries.concat()].concat();
        let model = straddle_intent::model::read(&file).unwrap();
        let (live, memory) = (Snapshot::default(), Memory::default());
        // No kernel has these devices.
        let offers = Offers(["ip6gre", "ip6tnl"].map(|word| (word, Some("none".to_string()))).into());
        let endpoints = Default::default();
        let facts = Facts { live: &live, memory: &memory, offers: &offers, seed: 0, endpoints: &endpoints };
        let plan = plan(&model, "here", &facts);
        let wanted: Vec<&Bridge> = plan.served().collect();
        let groups = together(&wanted);
        let names: Vec<Vec<&str>> =
            groups.iter().map(|group| group.iter().map(|bridge| bridge.name.as_str()).collect()).collect();
        assert_eq!(names, [vec!["gre", "keyed"], vec!["plain"], vec!["one"], vec!["two"]]);
    }

    const HOSTS: &str = "
[host.lender]
uplink   = \"eth0\"
ipv4     = [\"192.0.2.7/24\", \"192.0.2.8/24\", \"192.0.2.9/24\"]
gateway4 = \"192.0.2.1\"
ipv6     = \"2001:db8:aefc::2\"

[host.here]
uplink = \"eth0\"
ipv6   = \"2001:db8:eec0::2\"
";
}
