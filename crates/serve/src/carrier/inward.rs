//! Peer → tun: each batch of outer packets becomes as few writes as its TCP streams allow.

use std::io::{self, IoSlice};
use std::ops::Range;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use straddle_encap::coalesce::{Group, aggregated};
use straddle_encap::segment::MAX_HEADER;
use straddle_encap::{Kind, Reason, decapsulate, flow_hash};

use crate::Error;
use crate::mmsg::{BATCH, Inbox};
use crate::slot::Slot;
use crate::stop::{Stop, Woken};

use super::clients::{Peers, may_send};
use super::{Shared, trouble};

/// TCP streams that are put together at the same time.
const STREAMS: usize = 8;
/// How often what is known of paths is looked at: there may be thousands.
const REFRESH: Duration = Duration::from_secs(1);

/// Serves one outer protocol until told to end.
pub(super) fn run(slot: &Slot<Peers>, socket: &OwnedFd, stop: &Stop) -> Result<(), Error> {
    let mut held = slot.hold();
    let mut inbox = Inbox::new();
    let mut desk = Desk { open: Vec::with_capacity(STREAMS) };
    let mut refreshed = Instant::now();
    loop {
        let woken = stop.wait(socket.as_fd())?;
        let peers = held.refresh(slot);
        match woken {
            Woken::Stop => return Ok(()),
            Woken::Ready => drain(&mut inbox, &mut desk, socket, peers)?,
            Woken::Trouble => {}
        }
        trouble::drain(&mut inbox, socket, peers);
        let now = Instant::now();
        if now.duration_since(refreshed) >= REFRESH {
            peers.all().iter().for_each(|carrier| carrier.path.refresh(now));
            refreshed = now;
        }
    }
}

fn drain(inbox: &mut Inbox, desk: &mut Desk, socket: &OwnedFd, peers: &Peers) -> Result<(), Error> {
    for _ in 0..BATCH {
        match inbox.receive(socket.as_fd()) {
            Ok(0) => return Ok(()),
            Ok(count) => {
                for index in 0..count {
                    desk.take(inbox, index, peers);
                }
                desk.flush(inbox, peers);
                if count < BATCH {
                    return Ok(());
                }
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            // A pending ICMP error; its words are in the error queue.
            Err(_) => return Ok(()),
        }
    }
    Ok(())
}

/// A TCP stream in this batch: which packets, and where in each the inner packet lies.
struct Stream {
    /// The carrier's place.
    place: usize,
    queue: usize,
    group: Group,
    members: [(usize, usize, usize); BATCH],
    count: usize,
}

struct Desk {
    open: Vec<Stream>,
}

impl Desk {
    fn take(&mut self, inbox: &mut Inbox, index: usize, peers: &Peers) {
        match open(inbox, index, peers) {
            Ok((place, carrier, inner)) => {
                carrier.counters.received(1, inner.len() as u64);
                self.place(inbox, peers, (place, carrier), index, inner);
            }
            // Whom it was for can't be told: it counts at the first.
            Err((carrier, reason)) => {
                if let Some(counts) = carrier.or(peers.at(0)) {
                    counts.counters.dropped(reason);
                }
            }
        }
    }

    /// Into the stream that it continues, or a stream of its own, or straight to the device.
    fn place(
        &mut self,
        inbox: &Inbox,
        peers: &Peers,
        (place, carrier): (usize, &Shared),
        index: usize,
        inner: Range<usize>,
    ) {
        let packet = inbox.part(index, inner.clone());
        let same = |stream: &Stream| stream.place == place && stream.group.same_flow(packet);
        if let Some(at) = self.open.iter().position(same) {
            if let Some(stream) = self.open.get_mut(at)
                && stream.join(packet, index, &inner)
            {
                return;
            }
            // The order within a flow is kept: what came before goes first.
            self.open.swap_remove(at).write(inbox, peers);
        }
        let hash = flow_hash(packet) as usize;
        let queue = hash % carrier.queues.len().max(1);
        match Group::start(packet) {
            Some(group) if !group.closed() => {
                if self.open.len() == STREAMS {
                    self.open.remove(0).write(inbox, peers);
                }
                let mut stream = Stream { place, queue, group, members: [(0, 0, 0); BATCH], count: 0 };
                stream.member(index, &inner);
                self.open.push(stream);
            }
            Some(_) | None => single(carrier, queue, packet),
        }
    }

    fn flush(&mut self, inbox: &Inbox, peers: &Peers) {
        for stream in self.open.drain(..) {
            stream.write(inbox, peers);
        }
    }
}

impl Stream {
    fn join(&mut self, packet: &[u8], index: usize, inner: &Range<usize>) -> bool {
        let joined = self.count < BATCH && self.group.join(packet);
        if joined {
            self.member(index, inner);
        }
        joined
    }

    fn member(&mut self, index: usize, inner: &Range<usize>) {
        if let Some(member) = self.members.get_mut(self.count) {
            *member = (index, inner.start, inner.end);
            self.count += 1;
        }
    }

    fn write(self, inbox: &Inbox, peers: &Peers) {
        let Some(carrier) = peers.at(self.place) else { return };
        let members = self.members.get(..self.count).unwrap_or(&[]);
        if let [(index, start, end)] = members {
            return single(carrier, self.queue, inbox.part(*index, *start..*end));
        }
        let mut header = [0; MAX_HEADER];
        let offload = self.group.finish(&mut header).emit();
        let length = self.group.header_len();
        let mut parts = [IoSlice::new(&[]); BATCH + 2];
        let payloads = members.iter().map(|(index, start, end)| inbox.part(*index, *start + length..*end));
        let head = [&offload[..], header.get(..length).unwrap_or(&[])];
        let mut used = 0;
        for (slot, bytes) in parts.iter_mut().zip(head.into_iter().chain(payloads)) {
            *slot = IoSlice::new(bytes);
            used += 1;
        }
        write(carrier, self.queue, parts.get(..used).unwrap_or(&[]));
    }
}

/// A packet that goes alone. The kernel may have made it a super-packet before our socket saw it.
fn single(carrier: &Shared, queue: usize, packet: &[u8]) {
    match aggregated(packet, carrier.mtu) {
        Ok(offload) => write(carrier, queue, &[IoSlice::new(&offload.emit()), IoSlice::new(packet)]),
        Err(reason) => carrier.counters.dropped(reason),
    }
}

fn write(carrier: &Shared, queue: usize, parts: &[IoSlice<'_>]) {
    let written = carrier.queues.get(queue).is_some_and(|tun| rustix::io::writev(tun, parts).is_ok());
    if !written {
        carrier.counters.dropped(Reason::TunRefused);
    }
}

/// Whose packet it is, the carrier's place first, and where the inner one lies in it.
#[expect(clippy::type_complexity, reason = "the end of a packet, with the carrier that counts it")]
fn open<'a>(
    inbox: &mut Inbox,
    index: usize,
    peers: &'a Peers,
) -> Result<(usize, &'a Shared, Range<usize>), (Option<&'a Shared>, Reason)> {
    let received = inbox.packet(index).ok_or((None, Reason::Truncated))?;
    let mut refused = (None, Reason::UnknownPeer);
    for (place, carrier) in received.from.into_iter().flat_map(|from| peers.of(from)) {
        let (start, class) = behind_ip(carrier.kind, received.bytes, received.class)
            .ok_or((Some(carrier), Reason::Truncated))?;
        let payload = received.bytes.get_mut(start..).unwrap_or_default();
        match decapsulate(carrier.kind, payload, class) {
            Ok(inner) => {
                let packet = payload.get(inner.clone()).unwrap_or_default();
                may_send(carrier, packet).map_err(|reason| (Some(carrier), reason))?;
                return Ok((place, carrier, start + inner.start..start + inner.end));
            }
            Err(reason) => refused = (Some(carrier), reason),
        }
        if refused.1 != Reason::GreKey {
            break;
        }
    }
    Err(refused)
}

/// A raw IPv4 socket hands the outer header over too; one of IPv6 does not.
fn behind_ip(kind: Kind, bytes: &[u8], class: u8) -> Option<(usize, u8)> {
    match kind {
        Kind::Ip6gre { .. } | Kind::Ip4ip6 => Some((0, class)),
        Kind::Sit => {
            let outer = straddle_wire::ip::Packet::parse(bytes).ok()?;
            Some((outer.header_len(), outer.class()))
        }
    }
}
