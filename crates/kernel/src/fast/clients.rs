//! What programs know of the clients that share a device, and have carried for each (`bpf/clients.h`).

use std::collections::BTreeMap;

use aya::maps::{Array, Map, MapData};
use aya::{Ebpf, EbpfLoader};
use straddle_intent::object::{Client, Ends, OWNER};

use crate::Error;

use super::counts::Traffic;
use super::perfect::{self, Table};
use super::program::refused;

/// The maps' names.
const OWNERS: &str = "OWNERS";
const EARLIER: &str = "EARLIER";

/// `struct key6`.
pub(super) type Key = [u8; 24];
/// `struct owner`: a network and whose it is.
type Owner = [u8; size_of::<Key>() + OWNER];

/// What a program has carried for each client, held beyond its end.
pub(super) struct Clients {
    owners: Array<MapData, Owner>,
    earlier: Array<MapData, Traffic>,
}

/// Loads a program that may know clients, with those of `ends`.
pub(super) fn load(loader: &mut EbpfLoader<'_>, object: &[u8], ends: &Ends) -> Result<Ebpf, Error> {
    let owners = Table::new(ends.owners())?;
    loader.map_max_entries(OWNERS, owners.len());
    loader.map_max_entries(EARLIER, u32::try_from(ends.clients().len()).unwrap_or(u32::MAX).max(1));
    let mut ebpf = loader.load(object).map_err(refused)?;
    owners.put(&mut ebpf, OWNERS)?;
    Ok(ebpf)
}

/// The network that tells each client from others, in the order of their places.
pub(super) fn names(ends: &Ends) -> Vec<Key> {
    let first = |client: &Client| client.owned.first().map(Client::name).unwrap_or_default();
    ends.clients().iter().map(first).collect()
}

/// Puts what was carried for each client beside what the program carries for it itself.
pub(super) fn inherit(ebpf: &mut Ebpf, names: &[Key], former: &Clients) -> Result<(), Error> {
    let map = ebpf.map_mut(EARLIER).ok_or_else(|| refused("the clients' counters are missing"))?;
    let mut map: Array<&mut MapData, Traffic> = map.try_into().map_err(refused)?;
    let carried = former.read()?;
    for (place, name) in (0..).zip(names) {
        if let Some(carried) = carried.get(name).filter(|carried| **carried != Traffic::default()) {
            map.set(place, *carried, 0).map_err(refused)?;
        }
    }
    Ok(())
}

impl Clients {
    /// Of a program's maps, by name; none where it knows no clients.
    pub(super) fn among(maps: Vec<(String, MapData)>) -> Option<Clients> {
        let (mut owners, mut earlier) = (None, None);
        for (name, data) in maps {
            match name.as_str() {
                OWNERS => owners = Map::from_map_data(data).ok()?.try_into().ok(),
                EARLIER => earlier = Map::from_map_data(data).ok()?.try_into().ok(),
                _ => {}
            }
        }
        Some(Clients { owners: owners?, earlier: earlier? })
    }

    /// What was carried for each client, by each of its networks.
    pub(super) fn read(&self) -> Result<BTreeMap<Key, Traffic>, Error> {
        let (mut places, mut totals) = (Vec::new(), BTreeMap::new());
        let first = perfect::before(&self.owners.get(&0, 0).map_err(refused)?);
        for at in first.unwrap_or_default()..self.owners.len() {
            let Some((key, place, own)) = parsed(&self.owners.get(&at, 0).map_err(refused)?) else {
                continue;
            };
            places.push((key, place));
            let total = match totals.get_mut(&place) {
                Some(total) => total,
                None => {
                    let earlier = self.earlier.get(&place, 0).map_err(refused)?;
                    totals.entry(place).or_insert(earlier)
                }
            };
            total.add(&own);
        }
        let total = |(key, place)| (key, totals.get(&place).copied().unwrap_or_default());
        Ok(places.into_iter().map(total).collect())
    }
}

/// A client's network, its place, and what the program itself has carried for the network; none where none stands.
fn parsed(owner: &Owner) -> Option<(Key, u32, Traffic)> {
    let (key, owner) = owner.split_first_chunk()?;
    let number = |at: usize| owner.get(at..at + 8)?.try_into().ok().map(u64::from_ne_bytes);
    let place = u32::from_ne_bytes(owner.get(4..8)?.try_into().ok()?);
    let own = Traffic { packets: number(16)?, bytes: number(24)?, passes: number(32)? };
    (*key != [perfect::NONE; _]).then_some((*key, place, own))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_owner_has_a_place_and_traffic() {
        let (key, owner) = Ends::shared_example().owners().next().unwrap();
        assert_eq!(key[16], 128);
        let mut element: Owner = [&key[..], &owner].concat().try_into().unwrap();
        element[40..48].copy_from_slice(&7_u64.to_ne_bytes());
        element[56..64].copy_from_slice(&5_u64.to_ne_bytes());
        assert_eq!(parsed(&element), Some((key, 0, Traffic { packets: 7, bytes: 0, passes: 5 })));
        assert_eq!(parsed(&[perfect::NONE; _]), None, "nobody's");
    }
}
