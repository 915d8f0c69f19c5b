//! One queue of a translator's device: read, translate, write.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Instant;

use straddle_wire::vnet;
use straddle_xlat::{Out, State, Translator};

use crate::Error;
use crate::stop::{Stop, Woken};

use super::outlet::Outlet;
use super::tally::Tally;
use super::{Loss, Queue, Shared};

/// Room for one read, in bytes: the virtio header and the longest packet, an IPv6 header and what its
/// payload length can say.
const READ: usize = vnet::HEADER + 40 + 65_535;
/// Packets between two looks at the clock, at the slot and at the word to end.
///
/// A road not taken: `sched_yield` between batches, so that more datagrams meet, doubles the small packets of
/// a quiet machine, and divides them by three where others compute.
const BATCH: usize = 64;

/// Serves one queue until told to end.
pub(super) fn run(shared: &Shared, queue: usize, stop: &Stop) -> Result<(), Error> {
    let Some(Queue { tun, tally }) = shared.queues.get(queue) else { return Ok(()) };
    let mut held = shared.slot.hold();
    let outlet = Outlet::new(tun, tally);
    let mut desk = Desk { tun, tally, state: State::new(seed()), room: vec![0; READ], outlet };
    let start = Instant::now();
    while stop.wait(tun.as_fd())? != Woken::Stop {
        let now = u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX);
        desk.batch(held.refresh(&shared.slot), now).map_err(Error::call("tun read"))?;
    }
    Ok(())
}

/// A number that nobody can foretell: the standard library's hashes begin with one.
fn seed() -> u64 {
    RandomState::new().build_hasher().finish()
}

/// What a thread works with; made once, so that nothing is allocated per packet.
struct Desk<'a> {
    tun: &'a OwnedFd,
    tally: &'a Tally,
    state: State,
    room: Vec<u8>,
    outlet: Outlet<'a>,
}

impl Desk<'_> {
    /// Does what is there, but not for ever: under a flood too the word to end is heard. Nothing waits when
    /// it returns.
    fn batch(&mut self, translator: &Translator, now: u64) -> io::Result<()> {
        for _ in 0..BATCH {
            if !self.pass(translator, now)? {
                break;
            }
        }
        self.outlet.flush();
        Ok(())
    }

    /// Reads one packet and passes on what becomes of it; false when nothing was there.
    fn pass(&mut self, translator: &Translator, now: u64) -> io::Result<bool> {
        let length = match rustix::io::read(self.tun, &mut *self.room) {
            Ok(length) => length,
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => return Ok(false),
            Err(errno) => return Err(errno.into()),
        };
        let read = self.room.get(..length).and_then(|bytes| bytes.split_first_chunk());
        let Some((offload, packet)) = read else {
            self.tally.lost(Loss::TunShort, 1);
            return Ok(true);
        };
        let offload = vnet::Header::parse(offload);
        let verified = offload.flags & vnet::DATA_VALID != 0;
        let outlet = &mut self.outlet;
        let mut sink = |out: Out<'_>| outlet.take(&out, verified);
        let verdict = translator.translate(&mut self.state, now, &offload, packet, &mut sink);
        if let Some(reason) = verdict.reason() {
            self.tally.ended(reason);
        }
        Ok(true)
    }
}
