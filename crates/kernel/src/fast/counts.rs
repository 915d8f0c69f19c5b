//! What programs have counted (`bpf/count.h`).

use aya::Pod;
use aya::maps::{Map, MapData, PerCpuArray, PerCpuValues};
use aya::programs::{ProgramInfo, loaded_programs};
use serde::Serialize;

use crate::Error;

use super::clients::Clients;
use super::program::refused;

include!(concat!(env!("OUT_DIR"), "/slow.rs"));
include!(concat!(env!("OUT_DIR"), "/slow_direct.rs"));
include!(concat!(env!("OUT_DIR"), "/slow_carrier.rs"));
include!(concat!(env!("OUT_DIR"), "/slow_lender.rs"));

/// The map's name.
pub(super) const MAP: &str = "COUNTS";
/// That of a lender's program for what went past the device.
pub(super) const PAST: &str = "PAST";
/// That of what a program that goes past a device knows of the host.
const FACTS: &str = "FACTS";
/// Its elements: what the program counts, and what those before it have counted.
const OWN: u32 = 0;
const FORMER: u32 = 1;
/// Counters of reasons that there is room for.
const ROOM: usize = 32;

/// Packets of one direction, as the slow path counts them.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Traffic {
    /// Packets as a wire would see them: the parts of a super-packet, each by itself.
    pub packets: u64,
    /// Bytes, the headers of a super-packet once.
    pub bytes: u64,
    /// Times that the program translated: a super-packet is one.
    pub passes: u64,
}

impl Traffic {
    pub(super) fn add(&mut self, other: &Traffic) {
        self.packets += other.packets;
        self.bytes += other.bytes;
        self.passes += other.passes;
    }
}

// SAFETY: a C structure of 64-bit integers alone.
unsafe impl Pod for Traffic {}

/// `struct counts`, of `bpf/count.h` and of `bpf/carrier.h`: there what is translated to IPv4 is what went outward,
/// and the other what went inward.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Raw {
    to4: Traffic,
    to6: Traffic,
    identifications: u64,
    lost: u64,
    slow: [u64; ROOM],
}

// SAFETY: a C structure of 64-bit integers alone.
unsafe impl Pod for Raw {}

/// `struct facts` of `bpf/past.h`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
struct Facts {
    tick: u64,
    slow: u64,
}

// SAFETY: a C structure of 64-bit integers alone.
unsafe impl Pod for Facts {}

/// What a program has done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// What came out as IPv4.
    pub to4: Traffic,
    /// What came out as IPv6.
    pub to6: Traffic,
    /// Packets that ended in it: none, if the kernel is right.
    pub lost: u64,
    /// How often a packet was left to the slow path, by reason; those that never happened are left out.
    pub slow: Vec<(&'static str, u64)>,
    /// Why nothing goes past the device at present, as the last packet found it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub now: Option<&'static str>,
}

/// What a carrier's programs have done.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Carried {
    /// What was encapsulated, counted as it was before.
    pub outward: Traffic,
    /// What was decapsulated, counted as it was afterwards.
    pub inward: Traffic,
    /// Packets that ended in one of them: none, if the kernel is right.
    pub lost: u64,
    /// How often a packet to be encapsulated was left to the slow path, by reason.
    pub slow_outward: Vec<(&'static str, u64)>,
    /// The same of packets to be decapsulated.
    pub slow_inward: Vec<(&'static str, u64)>,
    /// Of a lender's: what of that went past the device.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub direct: Option<Past>,
}

/// What a lender's program has sent past the carrier's device.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Past {
    /// What was encapsulated behind the uplink, counted as it was before.
    pub outward: Traffic,
    /// What was decapsulated and left by the uplink at once, counted as it was before it left.
    pub inward: Traffic,
    /// How often a packet went through the device instead, by reason (of [`SLOW_CARRIER`],
    /// [`SLOW_DIRECT`] and [`SLOW_LENDER`]).
    pub slow: Vec<(&'static str, u64)>,
    /// Why nothing does at present, as the last packet found it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub now: Option<&'static str>,
}

/// What a carrier's programs have done, and what went outward and inward of each client that was asked for.
pub type Together = (Carried, Vec<[Traffic; 2]>);

impl Carried {
    /// Adds what the program at the uplink has done.
    pub(super) fn with(self, inward: Carried) -> Carried {
        let mut outward = self.outward;
        outward.add(&inward.outward);
        Carried {
            outward,
            inward: inward.inward,
            lost: self.lost + inward.lost,
            slow_outward: self.slow_outward,
            slow_inward: inward.slow_inward,
            direct: inward.direct,
        }
    }

    /// What of that went past a lender's device.
    pub(super) fn past(self, raw: &Raw, now: Option<u64>) -> Carried {
        let reasons = [&SLOW_CARRIER[..], &SLOW_DIRECT, &SLOW_LENDER].concat();
        let direct = Past {
            outward: raw.to4,
            inward: raw.to6,
            slow: named(&reasons, raw),
            now: at_present(&reasons, now),
        };
        Carried { direct: Some(direct), ..self }
    }

    pub(super) fn outward(raw: &Raw) -> Carried {
        let slow_outward = named(&SLOW_CARRIER, raw);
        Carried { outward: raw.to4, lost: raw.lost, slow_outward, ..Carried::default() }
    }

    /// What a program behind the uplink has done: a lender's, or one that follows it, has encapsulated too.
    pub(super) fn inward(raw: &Raw) -> Carried {
        let slow_inward = named(&SLOW_CARRIER, raw);
        Carried { outward: raw.to4, inward: raw.to6, lost: raw.lost, slow_inward, ..Carried::default() }
    }
}

/// What the kernel knows of the program with this number.
pub(super) fn info(program: u32) -> Option<ProgramInfo> {
    loaded_programs().filter_map(Result::ok).find(|info| info.id() == program)
}

/// The counters of a program, held beyond its end.
pub(super) struct Kept {
    all: PerCpuArray<MapData, Raw>,
    /// A lender's of what went past the device.
    past: Option<PerCpuArray<MapData, Raw>>,
    /// What is known of the host where something goes past a device.
    facts: Option<PerCpuArray<MapData, Facts>>,
    /// Where it knows clients.
    pub(super) clients: Option<Clients>,
}

impl Kept {
    /// Those of a program with this number.
    pub(super) fn of(program: u32) -> Result<Kept, Error> {
        let ids = info(program).map(|info| info.map_ids()).transpose().map_err(refused)?.flatten();
        let (mut all, mut past, mut facts) = (None, None, None);
        let mut maps = Vec::new();
        for id in ids.unwrap_or_default() {
            let data = MapData::from_id(id).map_err(refused)?;
            let info = data.info().map_err(refused)?;
            match info.name_as_str() {
                Some(name @ (MAP | PAST)) if info.value_size() as usize == size_of::<Raw>() => {
                    let map = Map::from_map_data(data).and_then(TryInto::try_into).map_err(refused)?;
                    *(if name == MAP { &mut all } else { &mut past }) = Some(map);
                }
                Some(FACTS) => {
                    facts = Some(Map::from_map_data(data).and_then(TryInto::try_into).map_err(refused)?);
                }
                Some(name) => maps.push((name.to_owned(), data)),
                None => {}
            }
        }
        let all = all.ok_or_else(|| refused("its program has no counters"))?;
        Ok(Kept { all, past, facts, clients: Clients::among(maps) })
    }

    /// What the program has counted, and those before it in its place.
    pub(super) fn read(&self) -> Result<Raw, Error> {
        sum(&self.all)
    }

    /// What a translator's has counted.
    pub(super) fn counts(&self) -> Result<Counts, Error> {
        let counts = Counts::from(self.read()?);
        Ok(Counts { now: at_present(&[&SLOW[..], &SLOW_DIRECT].concat(), self.now()?), ..counts })
    }

    /// The number of the reason why nothing went past the device when a packet last came; beyond them all where it did.
    pub(super) fn now(&self) -> Result<Option<u64>, Error> {
        let Some(facts) = &self.facts else { return Ok(None) };
        let values = facts.get(&OWN, 0).map_err(refused)?;
        let last = values.iter().filter(|facts| facts.tick > 0).max_by_key(|facts| facts.tick);
        Ok(last.map(|facts| facts.slow))
    }

    /// The same of what went past the device; none where it is no lender's.
    pub(super) fn read_past(&self) -> Result<Option<Raw>, Error> {
        self.past.as_ref().map(sum).transpose()
    }
}

/// Puts the former's sum beside what the program counts itself.
pub(super) fn inherit(map: &mut PerCpuArray<&mut MapData, Raw>, before: Raw) -> Result<(), Error> {
    let mut values: Vec<Raw> = map.get(&FORMER, 0).map_err(refused)?.iter().copied().collect();
    if let Some(first) = values.first_mut() {
        *first = before;
    }
    let values = PerCpuValues::try_from(values).map_err(refused)?;
    map.set(FORMER, values, 0).map_err(refused)
}

pub(super) fn sum<T: std::borrow::Borrow<MapData>>(map: &PerCpuArray<T, Raw>) -> Result<Raw, Error> {
    let mut total = Raw::default();
    for at in [OWN, FORMER] {
        for one in map.get(&at, 0).map_err(refused)?.iter() {
            total.add(one);
        }
    }
    Ok(total)
}

impl Raw {
    fn add(&mut self, other: &Raw) {
        for (mine, theirs) in [(&mut self.to4, other.to4), (&mut self.to6, other.to6)] {
            mine.add(&theirs);
        }
        self.lost += other.lost;
        for (mine, theirs) in self.slow.iter_mut().zip(other.slow) {
            *mine += theirs;
        }
    }
}

impl From<Raw> for Counts {
    fn from(raw: Raw) -> Counts {
        let reasons = [&SLOW[..], &SLOW_DIRECT].concat();
        Counts { to4: raw.to4, to6: raw.to6, lost: raw.lost, slow: named(&reasons, &raw), now: None }
    }
}

/// The reason with this number. The first beyond all is that there is none, the next that the device is no Ethernet.
fn at_present(reasons: &[(&'static str, &str)], number: Option<u64>) -> Option<&'static str> {
    let number = usize::try_from(number?).ok()?;
    if number == reasons.len() + 1 {
        return Some("port");
    }
    reasons.get(number).map(|(name, _)| *name)
}

/// Those that happened, by name.
fn named(reasons: &[(&'static str, &str)], raw: &Raw) -> Vec<(&'static str, u64)> {
    let all = reasons.iter().zip(raw.slow).map(|((name, _), count)| (*name, count));
    all.filter(|(_, count)| *count > 0).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_leave_out_what_never_happened() {
        let mut one = Raw { to4: Traffic { packets: 3, bytes: 300, passes: 2 }, ..Raw::default() };
        one.slow[2] = 1;
        let mut total = one;
        total.add(&one);
        let counts = Counts::from(total);
        assert_eq!(counts.to4, Traffic { packets: 6, bytes: 600, passes: 4 });
        assert_eq!(counts.slow, [(SLOW[2].0, 2)]);
    }
}
