//! What programs know of the clients that share a device, and have carried for each (`bpf/clients.h`).

use std::borrow::Borrow;

use aya::maps::{HashMap, Map, MapData, PerCpuArray, PerCpuValues};
use aya::{Ebpf, EbpfLoader};
use ipnet::Ipv6Net;
use straddle_intent::object::{Client, Ends};

use crate::Error;

use super::counts::Traffic;
use super::program::{fill, refused};

/// The maps' names.
pub(super) const OWNERS: &str = "OWNERS";
pub(super) const TRAFFIC: &str = "TRAFFIC";

/// `struct key6`, and `struct owner` with the client's place behind the first word.
type Key = [u8; 24];
type Owner = [u8; 16];

/// What a program has carried for each client, held beyond its end.
pub(super) struct Clients {
    owners: HashMap<MapData, Key, Owner>,
    traffic: PerCpuArray<MapData, Traffic>,
}

/// Loads a program that may know clients, with those of `ends`.
pub(super) fn load(loader: &mut EbpfLoader<'_>, object: &[u8], ends: &Ends) -> Result<Ebpf, Error> {
    let count = |count: usize| u32::try_from(count).unwrap_or(u32::MAX).max(1);
    loader.map_max_entries(OWNERS, count(ends.owners().count()));
    // Behind what a program carries itself stands what those before it have carried.
    loader.map_max_entries(TRAFFIC, count(2 * ends.clients().len()));
    let mut ebpf = loader.load(object).map_err(refused)?;
    fill(&mut ebpf, OWNERS, ends.owners())?;
    Ok(ebpf)
}

/// The network that tells each client from others, in the order of their places.
pub(super) fn names(ends: &Ends) -> Vec<Key> {
    let first = |client: &Client| client.owned.first().map(Client::name).unwrap_or_default();
    ends.clients().iter().map(first).collect()
}

/// Puts what was carried for a client beside what the program carries for it itself.
pub(super) fn inherit(ebpf: &mut Ebpf, names: &[Key], former: &Clients) -> Result<(), Error> {
    let map = ebpf.map_mut(TRAFFIC).ok_or_else(|| refused("the clients' counters are missing"))?;
    let mut map: PerCpuArray<&mut MapData, Traffic> = map.try_into().map_err(refused)?;
    for (place, name) in (0..).zip(names) {
        let carried = former.named(name)?;
        if carried == Traffic::default() {
            continue;
        }
        let place = place + map.len() / 2;
        let mut values: Vec<Traffic> = map.get(&place, 0).map_err(refused)?.iter().copied().collect();
        if let Some(first) = values.first_mut() {
            *first = carried;
        }
        map.set(place, PerCpuValues::try_from(values).map_err(refused)?, 0).map_err(refused)?;
    }
    Ok(())
}

impl Clients {
    /// Of a program's maps, by name; none where it knows no clients.
    pub(super) fn among(maps: Vec<(String, MapData)>) -> Option<Clients> {
        let (mut owners, mut traffic) = (None, None);
        for (name, data) in maps {
            match name.as_str() {
                OWNERS => owners = Map::from_map_data(data).ok()?.try_into().ok(),
                TRAFFIC => traffic = Map::from_map_data(data).ok()?.try_into().ok(),
                _ => {}
            }
        }
        Some(Clients { owners: owners?, traffic: traffic? })
    }

    /// What was carried for the client whose this network is.
    pub(super) fn of(&self, net: &Ipv6Net) -> Result<Traffic, Error> {
        self.named(&Client::name(net))
    }

    fn named(&self, name: &Key) -> Result<Traffic, Error> {
        // Whoever came later was not known.
        let Ok(owner) = self.owners.get(name, 0) else { return Ok(Traffic::default()) };
        let place = owner.get(4..8).and_then(|place| place.try_into().ok()).map_or(0, u32::from_ne_bytes);
        let mut total = sum(&self.traffic, place)?;
        total.add(&sum(&self.traffic, place + self.traffic.len() / 2)?);
        Ok(total)
    }
}

/// Of all processors.
fn sum<T: Borrow<MapData>>(map: &PerCpuArray<T, Traffic>, place: u32) -> Result<Traffic, Error> {
    let mut total = Traffic::default();
    for one in map.get(&place, 0).map_err(refused)?.iter() {
        total.add(one);
    }
    Ok(total)
}
