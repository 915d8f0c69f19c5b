use std::collections::BTreeMap;

use serde_json::{Value, json};
use straddle_encap::Reason;
use straddle_intent::object::{Object, Verdict, Wanted};
use straddle_intent::plan::{Bridge, Carrier, Plan, Via};
use straddle_intent::step::Step;
use straddle_kernel::Counters;
use straddle_kernel::fast::{Carried, Counts};

use crate::cli::{Exit, Place};
use crate::complaint::Complaint;
use crate::keep::{Service, ask};
use crate::render;
use crate::say;
use crate::site::{Look, Site};

use super::Ended;

/// What `status` tells.
pub(crate) struct Status {
    pub(crate) look: Look,
    /// What is left to do, or in the way.
    pub(crate) left: Vec<Vec<String>>,
    /// What a running straddle tells.
    pub(crate) service: Option<Service>,
    /// What the kernel's own devices have carried, by device.
    pub(crate) devices: Vec<(String, Counters)>,
    /// What the kernel's programs have counted for translators, by device.
    pub(crate) fast: Vec<(String, Counts)>,
    /// What went past a translator's device, by that and by the device that it came in by.
    pub(crate) direct: Vec<(String, String, Counts)>,
    /// What rules of ours have dropped, by bridge.
    dropped: Vec<(String, u64)>,
    /// What they have counted for carriers, by bridge.
    pub(crate) carried: BTreeMap<String, Carried>,
}

/// Whether a relay does not listen where it should.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Deaf {
    No,
    InPart,
    Altogether,
}

/// Tells for each bridge whether it is in step and served, and its counters.
pub(crate) fn status(place: &Place, json: bool) -> Ended {
    let mut site = match Site::open(place) {
        Ok(site) => site,
        Err(complaint @ (Complaint::NoFile { .. } | Complaint::Mistakes { .. })) => {
            return unread(place, json, complaint);
        }
        Err(complaint) => return Err(complaint),
    };
    let look = site.look(place)?;
    let left = match look.steps() {
        Ok(steps) => steps.iter().map(words).collect(),
        Err(conflicts) => {
            conflicts.into_iter().map(|conflict| vec![conflict.message, conflict.help]).collect()
        }
    };
    // Whoever is waited for may be about to share a device with those that are served.
    let is_by_kernel = |bridge: &&Bridge| !bridge.is_served() && !matches!(bridge.via, Via::Awaited(_));
    let by_kernel = look.plan.bridges.iter().filter(is_by_kernel);
    let names: Vec<&str> = by_kernel.filter_map(Bridge::device).collect();
    let mut devices = site.kernel.counters(&names)?;
    let dropped = dropped(&look.plan, &site.kernel.counted()?);
    refused(&mut devices, &look.plan, &dropped);
    let (fast, carried) = (fast(&mut site, &look), carried(&mut site, &look));
    let direct = direct(&mut site, &look);
    let service = ask(&place.runtime_dir);
    let status = Status { look, left, service, devices, fast, carried, direct, dropped };
    if json {
        say::result(&(render::status_json(&status) + "\n"))?;
    } else {
        say::result(&render::status(&status))?;
    }
    Ok(if status.well() { Exit::Done } else { Exit::OutOfStep })
}

/// A file that can't be read any more does not end what runs: that is told all the same.
fn unread(place: &Place, json: bool, complaint: Complaint) -> Ended {
    if let Some(service) = ask(&place.runtime_dir) {
        if json {
            say::result(&(render::service_json(&service) + "\n"))?;
        } else {
            say::result(&render::service(&service))?;
        }
    }
    Err(complaint)
}

/// Whoever may not ask sees the rest.
fn fast(site: &mut Site, look: &Look) -> Vec<(String, Counts)> {
    let mut counted = Vec::new();
    for bridge in &look.plan.bridges {
        let Via::Translator(translator) = &bridge.via else { continue };
        if let Ok(Some(counts)) = site.kernel.fast(&translator.device) {
            counted.push((translator.device.clone(), counts));
        }
    }
    counted
}

/// The same of programs past a translator's device.
fn direct(site: &mut Site, look: &Look) -> Vec<(String, String, Counts)> {
    let mut counted = Vec::new();
    for bridge in &look.plan.bridges {
        let Via::Translator(translator) = &bridge.via else { continue };
        for uplink in translator.direct.iter().flat_map(|direct| &direct.devices) {
            if let Ok(Some(counts)) = site.kernel.direct(uplink, &translator.device) {
                counted.push((translator.device.clone(), uplink.clone(), counts));
            }
        }
    }
    counted
}

/// The same of carriers that are tun, by bridge. Of clients that share a device each has what it carried itself;
/// what counts for them all together counts at the first, as it does in the loops.
fn carried(site: &mut Site, look: &Look) -> BTreeMap<String, Carried> {
    let mut devices: BTreeMap<&str, Vec<(&str, &Carrier)>> = BTreeMap::new();
    for bridge in look.plan.served() {
        if let Via::Carrier(carrier) = &bridge.via {
            devices.entry(&carrier.device).or_default().push((&bridge.name, carrier));
        }
    }
    let mut counted = BTreeMap::new();
    for (device, together) in devices {
        let Some((first, carrier)) = together.first() else { continue };
        let clients: Vec<_> =
            together.iter().filter_map(|(_, carrier)| carrier.owned.first().copied()).collect();
        let Ok(Some((mut all, each))) = site.kernel.carried((device, &carrier.uplink), &clients) else {
            continue;
        };
        if clients.is_empty() {
            counted.insert((*first).to_owned(), all);
            continue;
        }
        for ((name, _), [outward, inward]) in together.iter().zip(each) {
            let own = Carried { outward, inward, ..std::mem::take(&mut all) };
            counted.insert((*name).to_owned(), own);
        }
    }
    counted
}

/// What rules of ours that count have dropped, by bridge.
fn dropped(plan: &Plan, counted: &[(String, u64)]) -> Vec<(String, u64)> {
    let mut dropped = Vec::new();
    for wanted in &plan.wanted {
        let Wanted::Object(Object::Filter(filter)) = wanted else { continue };
        for rule in filter.rules.iter().filter(|rule| rule.verdict == Verdict::Count) {
            let text = rule.to_string();
            let packets = counted.iter().filter(|(comment, _)| *comment == text).map(|(_, packets)| packets);
            dropped.push((rule.bridge.clone(), packets.sum()));
        }
    }
    dropped.retain(|(_, packets)| *packets > 0);
    dropped
}

/// What a rule of ours has dropped of a bridge's packets counts as dropped by its device.
fn refused(devices: &mut [(String, Counters)], plan: &Plan, dropped: &[(String, u64)]) {
    for (name, packets) in dropped {
        let bridge = plan.bridges.iter().find(|bridge| bridge.name == *name);
        let device = bridge.and_then(Bridge::device);
        let device = device.and_then(|device| devices.iter_mut().find(|(dev, _)| dev == device));
        let Some((_, counters)) = device else { continue };
        match counters.drops.iter_mut().find(|(name, _)| *name == Reason::ForeignSource.name()) {
            Some((_, known)) => *known += packets,
            None => counters.drops.push((Reason::ForeignSource.name(), *packets)),
        }
    }
}

fn words(step: &Step) -> Vec<String> {
    straddle_intent::words::step(step)
}

impl Status {
    /// Whether a running straddle can't listen where this bridge should.
    pub(crate) fn deaf(&self, bridge: &Bridge) -> Deaf {
        let counted = self.counters(bridge).unwrap_or_default();
        let listeners = counted["listeners"].as_array().map(Vec::as_slice).unwrap_or_default();
        match listeners.iter().filter(|listener| !listener["trouble"].is_null()).count() {
            0 => Deaf::No,
            count if count < listeners.len() => Deaf::InPart,
            _ => Deaf::Altogether,
        }
    }

    /// The counters of a bridge, from whoever carries its packets.
    pub(crate) fn counters(&self, bridge: &Bridge) -> Option<Value> {
        let device = self.devices.iter().find(|(device, _)| Some(device.as_str()) == bridge.device());
        let served = || {
            let service = self.service.as_ref()?;
            service.counters.iter().find(|counted| counted["bridge"] == bridge.name.as_str()).cloned()
        };
        device.map(|(_, counters)| json!(counters)).or_else(served)
    }

    /// What the kernel's program in front of a bridge has counted.
    pub(crate) fn fast(&self, bridge: &Bridge) -> Option<&Counts> {
        self.fast
            .iter()
            .find(|(device, _)| Some(device.as_str()) == bridge.device())
            .map(|(_, counts)| counts)
    }

    /// What went past a bridge's device, by the device that it came in by.
    pub(crate) fn direct(&self, bridge: &Bridge) -> Vec<(&str, &Counts)> {
        let here = self.direct.iter().filter(|(device, ..)| Some(device.as_str()) == bridge.device());
        here.map(|(_, uplink, counts)| (uplink.as_str(), counts)).collect()
    }

    /// What our rules have kept from a translator: sources that lie behind itself.
    pub(crate) fn false_sources(&self, bridge: &Bridge) -> u64 {
        self.dropped.iter().filter(|(name, _)| *name == bridge.name).map(|(_, packets)| packets).sum()
    }

    /// What the kernel's programs have counted for a bridge's carrier.
    pub(crate) fn carried(&self, bridge: &Bridge) -> Option<&Carried> {
        self.carried.get(&bridge.name)
    }

    /// Whether anything crosses a bridge without a process.
    pub(crate) fn has_fast(&self) -> bool {
        !self.fast.is_empty() || !self.carried.is_empty()
    }

    /// What was told or heard of a bridge's endpoint.
    pub(crate) fn update(&self, bridge: &Bridge) -> Option<&Value> {
        let service = self.service.as_ref()?;
        service.updates.iter().find(|update| update["bridge"] == bridge.name.as_str())
    }

    /// What was told of no bridge of this host.
    pub(crate) fn strangers(&self) -> Option<&Value> {
        self.service.as_ref()?.updates.iter().find(|update| update.get("bridge").is_none())
    }

    /// Whether endpoints are heard by HTTP.
    pub(crate) fn hears(&self) -> bool {
        self.strangers().is_some_and(|strangers| strangers["requests"].is_array())
    }

    /// What neighbours have asked for.
    pub(crate) fn neighbours(&self) -> Option<&Value> {
        self.service.as_ref()?.neighbours.as_ref()
    }

    /// Whether the endpoint of a bridge, if it changes, is known to the other end.
    fn told(&self, bridge: &Bridge) -> bool {
        if matches!(bridge.via, Via::Awaited(_)) {
            return false;
        }
        let mut updates = self.look.plan.updates.iter();
        let tells = updates.any(|update| update.bridge == bridge.name && update.tells.is_some());
        let update = self.update(bridge);
        if tells {
            update.is_some_and(|update| !update["acknowledged_at"].is_null())
        } else {
            update.is_none_or(|update| update["trouble"].is_null())
        }
    }

    /// Whether a bridge that needs it is served, and what had to be discovered is known.
    fn works(&self, bridge: &Bridge) -> bool {
        let Some(counters) = self.counters(bridge) else { return false };
        let discovers = matches!(&bridge.via, Via::Translator(translator) if translator.discovers.is_some());
        if self.deaf(bridge) != Deaf::No {
            return false;
        }
        !discovers || counters["prefixes"].as_array().is_some_and(|prefixes| !prefixes.is_empty())
    }

    /// Whether every bridge is in step and served.
    pub(crate) fn well(&self) -> bool {
        let plan = &self.look.plan;
        self.left.is_empty()
            && (plan.answers.is_none() || self.neighbours().is_some())
            && (plan.http.is_none() || self.hears())
            && plan.served().all(|bridge| self.works(bridge))
            && plan.bridges.iter().all(|bridge| self.told(bridge))
    }
}
