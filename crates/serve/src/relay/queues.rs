//! How much a socket of a bulk flow may hold.
//!
//! The kernel lets a socket's queues grow to megabytes, whatever the path is. Where the other end is a few
//! microseconds away (another container, the same rack) they then hold more than the processor's cache, and
//! all who touch the payload wait for memory. So there a socket gets what the path can have under way.

use std::os::fd::{AsFd, AsRawFd};

use super::option;

/// Bytes that are under way in a microsecond of round trip at 40 Gbit/s.
const BYTES_A_MICROSECOND: u32 = 5_000;
/// No queue is made shorter: it must last until its loop is run next. With 192 kB, four flows on two processors went at half
/// their rate at times.
const SHORTEST: u32 = 320 * 1024;
/// A queue that may be longer is the kernel's business, which measures while it lets it grow.
const LONGEST: u32 = 1 << 20;

/// Limits what the source's socket receives ahead and what the sink's keeps to be sent.
pub(super) fn limit(source: impl AsFd, sink: impl AsFd) {
    if let Some(bytes) = shortest_round_trip(&source).and_then(asked) {
        option::set_receive_queue(&source, bytes);
    }
    if let Some(bytes) = shortest_round_trip(&sink).and_then(asked) {
        option::set_send_queue(&sink, bytes);
    }
}

/// What to ask for a socket with this round trip in microseconds, if the other end is near. The kernel
/// doubles it.
fn asked(round_trip: u32) -> Option<i32> {
    let bytes = round_trip.checked_mul(BYTES_A_MICROSECOND)?.max(SHORTEST);
    i32::try_from(bytes / 2).ok().filter(|_| bytes <= LONGEST)
}

/// The shortest round trip that TCP has seen on this connection, in microseconds: `tcpi_min_rtt` of `linux/tcp.h`.
fn shortest_round_trip(socket: impl AsFd) -> Option<u32> {
    const OFFSET: usize = 148;
    let mut info = [0_u8; OFFSET + 4];
    let mut size = libc::socklen_t::try_from(info.len()).ok()?;
    // SAFETY: the kernel writes at most `size` bytes, which `info` has.
    let done = unsafe {
        let (socket, room) = (socket.as_fd().as_raw_fd(), info.as_mut_ptr().cast());
        libc::getsockopt(socket, libc::IPPROTO_TCP, libc::TCP_INFO, room, &raw mut size)
    };
    let whole = done == 0 && usize::try_from(size).ok()? == info.len();
    let field = info.last_chunk().filter(|_| whole)?;
    // Without a sample it is the greatest number.
    Some(u32::from_ne_bytes(*field))
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn only_a_near_end_gets_a_limit() {
        assert_eq!(asked(0), Some(160 * 1024));
        assert_eq!(asked(100), Some(250_000));
        assert_eq!(asked(1_000), None);
        assert_eq!(asked(u32::MAX), None);
    }

    #[test]
    fn tcp_tells_a_round_trip_once_it_had_one() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let shortest = shortest_round_trip(&stream).unwrap();
        assert!((1..10_000_000).contains(&shortest), "{shortest}");
    }
}
