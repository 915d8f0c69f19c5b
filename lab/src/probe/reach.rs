use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::net::{AddressFamily, SocketFlags, SocketType, ipproto, socket_with};
use serde::Serialize;

use crate::LabError;
use crate::host::Host;

/// How a target answered over time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Reach {
    /// Echo requests sent, one every 10 ms.
    pub sent: u32,
    /// How many were answered.
    pub answered: u32,
}

/// Asks an IPv6 target for an echo every 10 ms until told to stop.
#[derive(Debug)]
pub struct Watch {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<io::Result<Reach>>>,
}

impl Watch {
    /// Starts watching `target` from `host`.
    ///
    /// # Errors
    /// When the raw socket cannot be made.
    pub fn start(host: &Host, target: Ipv6Addr) -> Result<Watch, LabError> {
        let socket = host.inside(raw_icmpv6)?.map_err(LabError::io("opening an ICMPv6 socket"))?;
        let stop = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&stop);
        let thread = thread::spawn(move || watch(&socket, target, &told));
        Ok(Watch { stop, thread: Some(thread) })
    }

    /// Stops, waits for the last answers, and tells what was seen.
    ///
    /// # Errors
    /// When the socket failed on the way.
    pub fn stop(mut self) -> Result<Reach, LabError> {
        self.stop.store(true, Ordering::Relaxed);
        let thread = self.thread.take();
        let seen = thread.and_then(|thread| thread.join().ok());
        seen.unwrap_or(Ok(Reach { sent: 0, answered: 0 })).map_err(LabError::io("watching a host over IPv6"))
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        // A failed watch that nobody asked for has nobody to tell.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

fn raw_icmpv6() -> io::Result<UdpSocket> {
    let flags = SocketFlags::CLOEXEC;
    let socket = socket_with(AddressFamily::INET6, SocketType::RAW, flags, Some(ipproto::ICMPV6))?;
    Ok(UdpSocket::from(socket))
}

fn watch(socket: &UdpSocket, target: Ipv6Addr, stop: &AtomicBool) -> io::Result<Reach> {
    let target = SocketAddr::new(IpAddr::V6(target), 0);
    let mut reach = Reach { sent: 0, answered: 0 };
    while !stop.load(Ordering::Relaxed) {
        let sequence = u16::try_from(reach.sent & 0xffff).unwrap_or_default();
        // A host without a route is as unreachable as one that is silent.
        let _ = socket.send_to(&super::echo_request(128, ID, sequence, 16), target);
        reach.sent += 1;
        reach.answered += answers(socket, INTERVAL, u32::MAX)?;
    }
    let missing = reach.sent - reach.answered;
    reach.answered += answers(socket, PATIENCE, missing)?;
    Ok(reach)
}

/// Counts the answers that arrive within `limit`, at most `enough`.
fn answers(socket: &UdpSocket, limit: Duration, enough: u32) -> io::Result<u32> {
    let deadline = Instant::now() + limit;
    let mut count = 0;
    let mut message = [0; 1500];
    while count < enough {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            break;
        }
        socket.set_read_timeout(Some(left))?;
        let Ok(length) = socket.recv(&mut message) else { continue };
        let ours = message.get(..6).is_some_and(|start| {
            start.first() == Some(&129) && start.get(4..) == Some(ID.to_be_bytes().as_slice())
        });
        count += u32::from(ours && length >= 8);
    }
    Ok(count)
}

const ID: u16 = 0x57ad;
const INTERVAL: Duration = Duration::from_millis(10);
const PATIENCE: Duration = Duration::from_millis(500);
