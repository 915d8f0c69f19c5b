//! The program as the kernel has it.

use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::os::fd::{AsFd as _, BorrowedFd};
use std::time::Duration;

use aya::maps::{HashMap, MapData};
use aya::programs::{SchedClassifier, TestRun as _, TestRunOptions};
use aya::{Ebpf, EbpfLoader};
use straddle_intent::object::{Tables, digest as digest_of};

use crate::Error;

use super::counts::{self, Kept};

/// Compiled from `bpf/tun_egress.c`.
static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/tun_egress.o"));
/// The program's name, and the names of what it is told.
const PROGRAM: &str = "straddle_fast";
const CONSTANTS: &str = "CONFIG";
const SEED: &str = "SEED";
const BEFORE: &str = "BEFORE";
const EAM4: &str = "EAM4";
const EAM6: &str = "EAM6";
/// Lines of a verifier's log that tell what it stumbled over; the last ones.
const LINES: usize = 12;

/// A program with its tables, which the kernel has taken.
pub struct Loaded {
    ebpf: Ebpf,
}

impl Loaded {
    /// Loads the program with what it is told. `before` is how many bytes stand before the IP header: none in a
    /// tun device, 14 in what `BPF_PROG_TEST_RUN` passes.
    ///
    /// # Errors
    /// What the kernel lacks or refuses, with the end of the verifier's log.
    pub fn new(tables: &Tables, before: u32) -> Result<Loaded, Error> {
        let count = u32::try_from(tables.eam4.len()).unwrap_or(u32::MAX).max(1);
        let seed = RandomState::new().build_hasher().finish();
        let mut loader = EbpfLoader::new();
        loader.override_global(CONSTANTS, tables.constants.as_slice(), true);
        loader.override_global(SEED, &seed, true).override_global(BEFORE, &before, true);
        let mut ebpf =
            loader.map_max_entries(EAM4, count).map_max_entries(EAM6, count).load(OBJECT).map_err(refused)?;
        fill(&mut ebpf, EAM4, &tables.eam4)?;
        fill(&mut ebpf, EAM6, &tables.eam6)?;
        let mut loaded = Loaded { ebpf };
        loaded.classifier_mut()?.load().map_err(refused)?;
        Ok(loaded)
    }

    /// Runs the program once on a packet, with nobody's traffic: what it returned, and the packet afterwards.
    ///
    /// # Errors
    /// When the kernel does not run it.
    pub fn test<'a>(&self, packet: &[u8], room: &'a mut [u8]) -> Result<(u32, &'a [u8]), Error> {
        let options =
            TestRunOptions { data_in: Some(packet), data_out: Some(&mut *room), ..Default::default() };
        let done = self.classifier()?.test_run(options).map_err(refused)?;
        let out = room.get(..done.data_size_out as usize).unwrap_or_default();
        Ok((done.return_value, out))
    }

    /// Runs the program this often on a packet: what it returned, and how long a run took.
    ///
    /// # Errors
    /// When the kernel does not run it.
    pub fn time(&self, packet: &[u8], repeat: u32) -> Result<(u32, Duration), Error> {
        let options = TestRunOptions { data_in: Some(packet), repeat, ..Default::default() };
        let done = self.classifier()?.test_run(options).map_err(refused)?;
        Ok((done.return_value, done.duration))
    }

    /// What it has counted.
    ///
    /// # Errors
    /// When the kernel can't be asked.
    pub fn counts(&self) -> Result<super::Counts, Error> {
        let map = self.ebpf.map(counts::MAP).ok_or_else(|| refused("the counters are missing"))?;
        counts::sum(&map.try_into().map_err(refused)?)
    }

    pub(super) fn fd(&self) -> Result<BorrowedFd<'_>, Error> {
        self.classifier()?.fd().map(|fd| fd.as_fd()).map_err(refused)
    }

    /// Takes over what the program in whose place this one stands has counted.
    pub(super) fn inherit(&mut self, former: &Kept) -> Result<(), Error> {
        let map = self.ebpf.map_mut(counts::MAP).ok_or_else(|| refused("the counters are missing"))?;
        counts::inherit(&mut map.try_into().map_err(refused)?, former)
    }

    fn classifier(&self) -> Result<&SchedClassifier, Error> {
        let program = self.ebpf.program(PROGRAM).ok_or_else(|| refused("the program is missing"))?;
        program.try_into().map_err(refused)
    }

    fn classifier_mut(&mut self) -> Result<&mut SchedClassifier, Error> {
        let program = self.ebpf.program_mut(PROGRAM).ok_or_else(|| refused("the program is missing"))?;
        program.try_into().map_err(refused)
    }
}

fn fill<K: aya::Pod, V: aya::Pod>(ebpf: &mut Ebpf, name: &str, entries: &[(K, V)]) -> Result<(), Error> {
    let map = ebpf.map_mut(name).ok_or_else(|| refused("a table is missing"))?;
    let mut map: HashMap<&mut MapData, K, V> = map.try_into().map_err(refused)?;
    entries.iter().try_for_each(|(key, value)| map.insert(key, value, 0)).map_err(refused)
}

/// Which program this is, of all that were ever compiled.
pub(super) fn digest() -> String {
    digest_of(OBJECT)
}

/// An error of the loader with its causes; of a verifier's log, the end.
pub(super) fn refused(why: impl Into<Box<dyn std::error::Error>>) -> Error {
    let first = why.into();
    let mut words = first.to_string();
    let mut cause = first.source();
    while let Some(error) = cause {
        let text = error.to_string();
        if !words.contains(&text) {
            words = format!("{words}: {text}");
        }
        cause = error.source();
    }
    let lines: Vec<&str> = words.lines().filter(|line| !line.trim().is_empty()).collect();
    let skipped = lines.len().saturating_sub(LINES);
    let head = lines.first().filter(|_| skipped > 0).map(|first| format!("{first}\n…\n")).unwrap_or_default();
    Error::Program(head + &lines.get(skipped..).unwrap_or_default().join("\n"))
}
