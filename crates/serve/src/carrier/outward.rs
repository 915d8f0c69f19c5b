//! tun → peer: each read is a packet or a super-packet; each batch of outer packets is one send.

use std::io;
use std::ops::Range;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Instant;

use straddle_encap::errors::{MAX_ERROR, too_big};
use straddle_encap::fragment::fragments;
use straddle_encap::segment::{MAX_HEADER, Segment, Segments, segments};
use straddle_encap::{Kind, Outer, Prefix, Reason, encapsulate};
use straddle_wire::vnet;

use crate::Error;
use crate::mmsg::{BATCH, Outbox, Parcel};
use crate::raw::over_v6;
use crate::slot::Slot;
use crate::stop::{Stop, Woken};

use super::Shared;
use super::clients::Device;

/// Room for one read: the virtio header and the largest packet, in bytes.
const READ: usize = vnet::HEADER + 65_536;
/// Room for the reads of one batch, in bytes: many small packets, or a few super-packets.
const ARENA: usize = 4 * READ;

/// Serves one queue until told to end.
pub(super) fn run(
    slot: &Slot<Device>,
    tun: &OwnedFd,
    (kind, socket): (Kind, &OwnedFd),
    stop: &Stop,
) -> Result<(), Error> {
    let mut held = slot.hold();
    let mut desk = Desk::new(kind, socket);
    while stop.wait(tun.as_fd())? != Woken::Stop {
        // Under a flood too the word to end is heard.
        for _ in 0..BATCH {
            match desk.read(held.refresh(slot), tun) {
                Ok(true) => {}
                Ok(false) => break,
                Err(error) => return Err(Error::call("tun read")(error)),
            }
        }
    }
    Ok(())
}

/// One outgoing packet of the batch: the bytes of `arena` are its payload.
#[derive(Clone)]
struct Parting {
    /// The carrier's place.
    place: usize,
    prefix: Prefix,
    class: u8,
    header: [u8; MAX_HEADER],
    header_len: usize,
    payload: Range<usize>,
}

struct Desk<'a> {
    socket: &'a OwnedFd,
    outbox: Outbox,
    arena: Vec<u8>,
    whole: Vec<u8>,
    slots: Vec<Parting>,
    filled: usize,
}

/// A carrier with its place.
type Placed<'a> = (usize, &'a Shared);

impl<'a> Desk<'a> {
    fn new(kind: Kind, socket: &'a OwnedFd) -> Desk<'a> {
        let blank = Parting {
            place: 0,
            prefix: Prefix::default(),
            class: 0,
            header: [0; MAX_HEADER],
            header_len: 0,
            payload: 0..0,
        };
        Desk {
            socket,
            outbox: Outbox::new(over_v6(kind)),
            arena: vec![0; ARENA],
            whole: vec![0; READ],
            slots: vec![blank; BATCH],
            filled: 0,
        }
    }

    /// Reads until nothing is there or the arena is full, and sends it; false when nothing was there.
    fn read(&mut self, device: &Device, tun: &OwnedFd) -> io::Result<bool> {
        let mut used = 0;
        while let Some(room) = self.arena.get_mut(used..used + READ) {
            let length = match rustix::io::read(tun, &mut *room) {
                Ok(length) => length,
                Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => break,
                Err(errno) => return Err(errno.into()),
            };
            let packet = used + vnet::HEADER..used + length;
            if let Some(offload) = room.first_chunk().map(vnet::Header::parse) {
                self.take(device, offload, packet, tun);
            }
            used += length;
        }
        self.flush(device);
        Ok(used > 0)
    }

    /// One packet of the tun device becomes one or several outer packets.
    fn take(&mut self, device: &Device, offload: vnet::Header, packet: Range<usize>, tun: &OwnedFd) {
        let arena = std::mem::take(&mut self.arena);
        let inner = arena.get(packet.clone()).unwrap_or(&[]);
        match device.place(inner) {
            Ok(place) => {
                if let Some(carrier) = device.at(place)
                    && let Err(reason) =
                        self.carry(device, (place, carrier), (offload, inner), (&arena, packet.start), tun)
                {
                    carrier.counters.dropped(reason);
                }
            }
            Err(reason) => device.dropped(reason),
        }
        self.arena = arena;
    }

    fn carry(
        &mut self,
        device: &Device,
        (place, carrier): Placed<'_>,
        (offload, inner): (vnet::Header, &[u8]),
        (arena, start): (&[u8], usize),
        tun: &OwnedFd,
    ) -> Result<(), Reason> {
        let outer = encapsulate(carrier.kind, inner)?;
        let mut parts = segments(offload, inner)?;
        let mtu = carrier.inner_mtu();
        if parts.largest() <= usize::from(mtu) {
            self.each(device, (arena, start), (place, outer), |header| parts.next(header));
            return Ok(());
        }
        if offload.gso != vnet::Gso::None {
            return Err(tell(carrier, inner, mtu, tun));
        }
        // What was read so far goes first; then the packet as it shall be, from a copy of its own: an
        // incomplete checksum covers all of it and can't be completed in its fragments.
        self.send(device, arena);
        let mut whole = std::mem::take(&mut self.whole);
        let length = copy(&mut parts, inner, &mut whole);
        let result =
            self.oversized(device, whole.get(..length).unwrap_or(&[]), ((place, carrier), outer), mtu, tun);
        self.whole = whole;
        result
    }

    /// What does not fit is divided if its sender allows it, else its sender is told.
    fn oversized(
        &mut self,
        device: &Device,
        inner: &[u8],
        ((place, carrier), outer): (Placed<'_>, Outer),
        mtu: u16,
        tun: &OwnedFd,
    ) -> Result<(), Reason> {
        match fragments(inner, mtu) {
            Ok(mut parts) => {
                self.each(device, (inner, 0), (place, outer), |header| parts.next(header));
                self.send(device, inner);
                Ok(())
            }
            Err(Reason::TooBig) => Err(tell(carrier, inner, mtu, tun)),
            Err(reason) => Err(reason),
        }
    }

    /// Puts every part into a slot; a full batch goes at once.
    fn each(
        &mut self,
        device: &Device,
        (arena, start): (&[u8], usize),
        (place, outer): (usize, Outer),
        mut next: impl FnMut(&mut [u8; MAX_HEADER]) -> Option<Segment>,
    ) {
        loop {
            if self.filled == BATCH {
                self.send(device, arena);
            }
            let Some(slot) = self.slots.get_mut(self.filled) else { return };
            let Some(part) = next(&mut slot.header) else { return };
            slot.place = place;
            slot.prefix = outer.prefix;
            slot.class = outer.traffic_class;
            slot.header_len = part.header_len;
            slot.payload = start + part.payload.start..start + part.payload.end;
            self.filled += 1;
        }
    }

    fn flush(&mut self, device: &Device) {
        let arena = std::mem::take(&mut self.arena);
        self.send(device, &arena);
        self.arena = arena;
    }

    fn send(&mut self, device: &Device, arena: &[u8]) {
        let slots = self.slots.get(..self.filled).unwrap_or(&[]);
        let placed = |slot: &'_ Parting| device.at(slot.place);
        let parcel = |index: usize| {
            let slot = slots.get(index);
            slot.and_then(|slot| Some(slot.parcel(placed(slot)?, arena))).unwrap_or(NOTHING)
        };
        // What was refused counts for nothing sent.
        for (slot, carrier) in slots.iter().filter_map(|slot| Some((slot, placed(slot)?))) {
            carrier.counters.sent(1, slot.length());
        }
        self.outbox.send(self.socket.as_fd(), slots.len(), parcel, |index, error| {
            if let Some((slot, carrier)) = slots.get(index).and_then(|slot| Some((slot, placed(slot)?))) {
                carrier.counters.not_sent(slot.length());
                carrier.counters.dropped(refusal(&error));
            }
        });
        self.filled = 0;
    }
}

fn tell(carrier: &Shared, inner: &[u8], mtu: u16, tun: &OwnedFd) -> Reason {
    let mut answer = [0; vnet::HEADER + MAX_ERROR];
    if !carrier.limit.allows(Instant::now()) {
        return Reason::ErrorRateLimited;
    }
    let (_, room) = answer.split_at_mut(vnet::HEADER);
    match too_big(inner, mtu, carrier.sources, room) {
        Ok(length) => {
            let sent = answer
                .get(..vnet::HEADER + length)
                .is_some_and(|bytes| rustix::io::write(tun, bytes).is_ok());
            if sent { Reason::TooBig } else { Reason::TunRefused }
        }
        Err(reason) => reason,
    }
}

const NOTHING: Parcel<'static> = Parcel { to: None, parts: [&[], &[], &[]], class: 0 };

impl Parting {
    /// Inner bytes.
    fn length(&self) -> u64 {
        (self.header_len + self.payload.len()) as u64
    }

    fn parcel<'a>(&'a self, carrier: &'a Shared, arena: &'a [u8]) -> Parcel<'a> {
        let header = self.header.get(..self.header_len).unwrap_or(&[]);
        let payload = arena.get(self.payload.clone()).unwrap_or(&[]);
        Parcel { to: Some(&carrier.to), parts: [self.prefix.as_bytes(), header, payload], class: self.class }
    }
}

/// The one part that `parts` has, as one piece; its length in bytes.
fn copy(parts: &mut Segments<'_>, inner: &[u8], whole: &mut [u8]) -> usize {
    let mut header = [0; MAX_HEADER];
    let Some(part) = parts.next(&mut header) else { return 0 };
    let pieces = [header.get(..part.header_len), inner.get(part.payload)];
    let mut at = 0;
    for piece in pieces.into_iter().flatten() {
        if let Some(room) = whole.get_mut(at..at + piece.len()) {
            room.copy_from_slice(piece);
            at += piece.len();
        }
    }
    at
}

fn refusal(error: &io::Error) -> Reason {
    match error.raw_os_error() {
        Some(libc::EMSGSIZE) => Reason::TooBig,
        Some(libc::ENETUNREACH | libc::EHOSTUNREACH | libc::EADDRNOTAVAIL) => Reason::NoRoute,
        Some(libc::EAGAIN | libc::ENOBUFS) => Reason::SendBufferFull,
        Some(_) | None => Reason::SendFailed,
    }
}
