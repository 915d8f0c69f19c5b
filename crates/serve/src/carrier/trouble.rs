//! ICMP errors about our outer packets: told inwards to whom they concern (RFC 2473 §8).

use std::os::fd::{AsFd, OwnedFd};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use straddle_encap::Reason;
use straddle_encap::errors::{MAX_ERROR, OuterError, inward, is_no_tunnel};
use straddle_wire::vnet;

use crate::mmsg::Inbox;

use super::Shared;
use super::clients::Peers;

/// Takes every error out of the socket's queue.
pub(super) fn drain(inbox: &mut Inbox, socket: &OwnedFd, peers: &Peers) {
    while let Ok(found) = inbox.error(socket.as_fd()) {
        let Some((error, Some(peer))) = found else { continue };
        for (_, carrier) in peers.of(peer) {
            // The path is the peer's, whichever carrier met its end.
            if let Some(mtu) = too_big(error) {
                carrier.path.narrowed(mtu, Instant::now());
            }
            if is_no_tunnel(error) {
                carrier.counters.no_tunnel(seconds());
            }
        }
        if let Some(quoted) = inbox.packet(0).filter(|quoted| !quoted.bytes.is_empty()) {
            relay(peers.of(peer).map(|(_, carrier)| carrier), error, quoted.bytes);
        }
    }
}

/// The carrier whose packet is quoted, as its key tells, has it told to whoever sent the inner packet.
fn relay<'a>(together: impl Iterator<Item = &'a Shared>, error: OuterError, quoted: &[u8]) {
    let mut together = together.peekable();
    while let Some(carrier) = together.next() {
        match tell(carrier, error, quoted) {
            Err(Reason::ErrorUnusable) if together.peek().is_some() => {}
            Err(reason) => return carrier.counters.dropped(reason),
            Ok(()) => return,
        }
    }
}

fn too_big(error: OuterError) -> Option<u32> {
    match error {
        OuterError::V6 { kind: 2, info, .. } | OuterError::V4 { kind: 3, code: 4, info } => Some(info),
        OuterError::V6 { .. } | OuterError::V4 { .. } => None,
    }
}

fn tell(carrier: &Shared, error: OuterError, quoted: &[u8]) -> Result<(), Reason> {
    if !carrier.limit.allows(Instant::now()) {
        return Err(Reason::ErrorRateLimited);
    }
    let mut answer = [0; vnet::HEADER + MAX_ERROR];
    let (_, room) = answer.split_at_mut(vnet::HEADER);
    let length = inward(carrier.kind, error, quoted, carrier.sources, room)?;
    let bytes = answer.get(..vnet::HEADER + length).ok_or(Reason::ErrorUnusable)?;
    let tun = carrier.queues.first().ok_or(Reason::TunRefused)?;
    rustix::io::write(tun, bytes).map(drop).map_err(|_| Reason::TunRefused)
}

fn seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
