//! The program as the kernel has it.

use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::io::ErrorKind::WouldBlock;
use std::net::Ipv4Addr;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::time::Duration;

use aya::maps::{Array, HashMap, MapData};
use aya::programs::{ProgramError, SchedClassifier, TestRun as _, TestRunOptions};
use aya::{Ebpf, EbpfLoader};
use straddle_intent::object::{Ends, Tables, Task, digest as digest_of};

use crate::Error;

use super::clients;
use super::counts::{self, Kept};
use super::perfect::Table;
use super::watch::{self, Watch};

/// Compiled from `bpf/tun_egress.c`.
static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/tun_egress.o"));
/// Compiled from `bpf/direct_ingress.c`.
static DIRECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/direct_ingress.o"));
/// Compiled from `bpf/carrier_egress.c`.
static OUTWARD: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/carrier_egress.o"));
/// Compiled from `bpf/uplink_ingress.c`.
static INWARD: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/uplink_ingress.o"));
/// Compiled from `bpf/lender_ingress.c`.
static LENDER: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/lender_ingress.o"));
/// Each program's name, and the names of what they are told.
const PROGRAM: &str = "straddle_fast";
const CONSTANTS: &str = "CONFIG";
const SEED: &str = "SEED";
const BEFORE: &str = "BEFORE";
const EAM4: &str = "EAM4";
const EAM6: &str = "EAM6";
const CARRIER: &str = "CARRIER";
const INTO: &str = "INTO";
const PEERS: &str = "PEERS";
const LENT: &str = "LENT";
/// How often a signal may come between; libbpf has as many.
const INTERRUPTED: u32 = 4;
/// Bytes of an Ethernet header.
const ETHERNET: u32 = 14;
/// The map that the mark of a program behind an uplink stands in, and its size in bytes.
pub(super) const MARKED: &str = "STRADDLE";
pub(super) const MARK_ROOM: usize = 96;
/// Lines of a verifier's log that tell what it stumbled over; the last ones.
const LINES: usize = 12;

/// A program with its tables, which the kernel has taken.
pub struct Loaded {
    ebpf: Ebpf,
    /// See [`clients::names`].
    clients: Vec<clients::Key>,
}

impl Loaded {
    /// Loads the program with what it is told. `before` is how many bytes stand before the IP header: none in a
    /// tun device, 14 in what `BPF_PROG_TEST_RUN` passes.
    ///
    /// # Errors
    /// What the kernel lacks or refuses, with the end of the verifier's log.
    pub fn new(tables: &Tables, before: u32) -> Result<Loaded, Error> {
        Loaded::translating(EbpfLoader::new(), OBJECT, tables, before)?.taken()
    }

    /// Loads the program that translates behind an Ethernet device, past the tun device with this number. `mark` is what
    /// it is told by.
    ///
    /// # Errors
    /// As [`Loaded::new`].
    pub fn direct(tables: &Tables, into: u32, mark: &str) -> Result<Loaded, Error> {
        let mut loader = EbpfLoader::new();
        loader.override_global(INTO, &into, true);
        let mut loaded = Loaded::translating(loader, DIRECT, tables, ETHERNET)?;
        loaded.mark(mark)?;
        loaded.taken()
    }

    fn translating(
        loader: EbpfLoader<'_>,
        object: &[u8],
        tables: &Tables,
        before: u32,
    ) -> Result<Loaded, Error> {
        let [eam4, eam6] =
            [Table::new(tables.eam4.iter().copied())?, Table::new(tables.eam6.iter().copied())?];
        let seed = seed();
        // What it borrows from here on lives shorter than what it borrows already.
        let mut loader: EbpfLoader<'_> = loader;
        loader.override_global(CONSTANTS, tables.constants.as_slice(), true);
        let loader = loader.override_global(SEED, &seed, true).override_global(BEFORE, &before, true);
        loader.map_max_entries(EAM4, eam4.len()).map_max_entries(EAM6, eam6.len());
        let mut ebpf = loader.load(object).map_err(refused)?;
        eam4.put(&mut ebpf, EAM4)?;
        eam6.put(&mut ebpf, EAM6)?;
        Ok(Loaded { ebpf, clients: Vec::new() })
    }

    /// Loads the program that encapsulates, as [`Loaded::new`].
    ///
    /// # Errors
    /// As there.
    pub fn outward(ends: &Ends, before: u32) -> Result<Loaded, Error> {
        let constants = ends.constants();
        let mut loader = EbpfLoader::new();
        loader.override_global(CARRIER, constants.as_slice(), true).override_global(BEFORE, &before, true);
        let ebpf = clients::load(&mut loader, OUTWARD, ends)?;
        Loaded { ebpf, clients: clients::names(ends) }.taken()
    }

    /// Loads the program that decapsulates, into the device with this number. `mark` is what it is told by.
    ///
    /// # Errors
    /// As [`Loaded::new`].
    pub fn inward(ends: &Ends, into: u32, mark: &str) -> Result<Loaded, Error> {
        Loaded::behind(EbpfLoader::new(), INWARD, ends, (into, mark))
    }

    /// Loads the program that does both behind a lender's uplink, past the device with this number, for packets from and
    /// to `address`. `mark` is what it is told by.
    ///
    /// # Errors
    /// As [`Loaded::new`].
    pub fn lending(ends: &Ends, address: Ipv4Addr, into: u32, mark: &str) -> Result<Loaded, Error> {
        let (lent, seed) = (u32::from_ne_bytes(address.octets()), seed());
        let mut loader = EbpfLoader::new();
        loader.override_global(LENT, &lent, true).override_global(SEED, &seed, true);
        Loaded::behind(loader, LENDER, ends, (into, mark))
    }

    /// A carrier's program behind an uplink.
    fn behind(
        loader: EbpfLoader<'_>,
        object: &[u8],
        ends: &Ends,
        (into, mark): (u32, &str),
    ) -> Result<Loaded, Error> {
        let constants = ends.constants();
        // What it borrows from here on lives shorter than what it borrows already.
        let mut loader: EbpfLoader<'_> = loader;
        loader.override_global(CARRIER, constants.as_slice(), true).override_global(INTO, &into, true);
        let count = ends.clients().len() as u32;
        loader.map_max_entries(PEERS, count.max(1));
        let mut ebpf = clients::load(&mut loader, object, ends)?;
        let peers = ebpf.map_mut(PEERS).ok_or_else(|| refused("the clients' addresses are missing"))?;
        let mut peers: HashMap<&mut MapData, u32, u32> = peers.try_into().map_err(refused)?;
        ends.peers().try_for_each(|remote| peers.insert(remote, 0, 0)).map_err(refused)?;
        let mut loaded = Loaded { ebpf, clients: clients::names(ends) };
        loaded.mark(mark)?;
        loaded.taken()
    }

    fn mark(&mut self, mark: &str) -> Result<(), Error> {
        let mut value = [0; MARK_ROOM];
        value.iter_mut().zip(mark.bytes()).for_each(|(to, from)| *to = from);
        self.array::<[u8; MARK_ROOM]>(MARKED)?.set(0, value, 0).map_err(refused)
    }

    /// Tells a program that goes past a device what is so of the host.
    ///
    /// # Errors
    /// When the kernel does not take it.
    pub fn watched(&mut self, watch: &Watch) -> Result<(), Error> {
        self.array::<watch::Raw>(watch::MAP)?.set(0, watch.raw(), 0).map_err(refused)
    }

    fn array<V: aya::Pod>(&mut self, name: &str) -> Result<Array<&mut MapData, V>, Error> {
        let map = self.ebpf.map_mut(name).ok_or_else(|| refused(format!("the map {name} is missing")))?;
        map.try_into().map_err(refused)
    }

    /// Has the kernel take the program. It gives up looking at one when a signal comes, which is no refusal.
    fn taken(mut self) -> Result<Loaded, Error> {
        for _ in 0..INTERRUPTED {
            match self.classifier_mut()?.load() {
                Err(ProgramError::LoadError { io_error, .. }) if io_error.kind() == WouldBlock => {}
                done => return done.map_err(refused).map(|()| self),
            }
        }
        self.classifier_mut()?.load().map_err(refused)?;
        Ok(self)
    }

    /// Runs the program once on a packet, with nobody's traffic: what it returned, and the packet afterwards.
    ///
    /// # Errors
    /// When the kernel does not run it.
    pub fn test<'a>(&self, packet: &[u8], room: &'a mut [u8]) -> Result<(u32, &'a [u8]), Error> {
        self.once(None, packet, room)
    }

    /// As [`Loaded::test`], of a packet that comes in by this device.
    ///
    /// # Errors
    /// As there.
    pub fn test_from<'a>(
        &self,
        dev: u32,
        packet: &[u8],
        room: &'a mut [u8],
    ) -> Result<(u32, &'a [u8]), Error> {
        // `ifindex` of `struct __sk_buff`.
        let mut context = [0; 192];
        if let Some(field) = context.get_mut(40..44) {
            field.copy_from_slice(&dev.to_ne_bytes());
        }
        self.once(Some(&context), packet, room)
    }

    fn once<'a>(
        &self,
        context: Option<&[u8]>,
        packet: &[u8],
        room: &'a mut [u8],
    ) -> Result<(u32, &'a [u8]), Error> {
        let options = TestRunOptions {
            data_in: Some(packet),
            data_out: Some(&mut *room),
            ctx_in: context,
            ..Default::default()
        };
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

    /// What a translator's has counted.
    ///
    /// # Errors
    /// When the kernel can't be asked.
    pub fn counts(&self) -> Result<super::Counts, Error> {
        let map = self.ebpf.map(counts::MAP).ok_or_else(|| refused("the counters are missing"))?;
        counts::sum(&map.try_into().map_err(refused)?).map(Into::into)
    }

    pub(super) fn fd(&self) -> Result<BorrowedFd<'_>, Error> {
        self.classifier()?.fd().map(|fd| fd.as_fd()).map_err(refused)
    }

    /// What a carrier's behind an uplink has counted.
    ///
    /// # Errors
    /// When the kernel can't be asked.
    pub fn carried(&self) -> Result<super::Carried, Error> {
        let sum = |name| {
            let map = self.ebpf.map(name).map(TryInto::try_into).transpose().map_err(refused)?;
            map.map(|map| counts::sum(&map)).transpose()
        };
        let inward = sum(counts::MAP)?.map(|raw| super::Carried::inward(&raw)).unwrap_or_default();
        Ok(match sum(counts::PAST)? {
            Some(past) => inward.past(&past, None),
            None => inward,
        })
    }

    /// Takes over what the program in whose place this one stands has counted.
    pub(super) fn inherit(&mut self, former: &Kept) -> Result<(), Error> {
        let map = self.ebpf.map_mut(counts::MAP).ok_or_else(|| refused("the counters are missing"))?;
        counts::inherit(&mut map.try_into().map_err(refused)?, former.read()?)?;
        if let (Some(map), Some(past)) = (self.ebpf.map_mut(counts::PAST), former.read_past()?) {
            counts::inherit(&mut map.try_into().map_err(refused)?, past)?;
        }
        let clients = former.clients.as_ref();
        clients.map_or(Ok(()), |former| clients::inherit(&mut self.ebpf, &self.clients, former))
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

/// A number that nobody can foretell.
fn seed() -> u64 {
    RandomState::new().build_hasher().finish()
}

/// Which program does this, of all that were ever compiled.
pub(super) fn digest(task: &Task) -> String {
    digest_of(match task {
        Task::Translate(_) => OBJECT,
        Task::Direct(_) => DIRECT,
        Task::Encapsulate(_) => OUTWARD,
        Task::Decapsulate(_) => INWARD,
        Task::Lend(..) => LENDER,
    })
}

/// Whether a program with this digest is one of this build.
pub(super) fn is_own(digest: &str) -> bool {
    [OBJECT, DIRECT, OUTWARD, INWARD, LENDER].iter().any(|object| digest_of(object) == digest)
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
