use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, TcpListener, TcpStream, UdpSocket};
use std::thread;
use std::time::{Duration, Instant};

use crate::host::Host;
use crate::{LabError, wait};

/// Sends `bytes` over TCP to `target`, which `server` takes. How long it took, or `None` when they did
/// not all arrive as they were sent.
///
/// # Errors
/// When the listening socket cannot be made.
pub fn transfer(
    client: &Host,
    server: &Host,
    target: IpAddr,
    bytes: usize,
) -> Result<Option<Duration>, LabError> {
    let doing = || LabError::io("listening on TCP");
    let listener = server.inside(|| TcpListener::bind((Ipv6Addr::UNSPECIFIED, 0)))?.map_err(doing())?;
    let port = listener.local_addr().map_err(doing())?.port();
    let sent: Vec<u8> = pattern().take(bytes).collect();
    let start = Instant::now();
    let connected = client.inside(|| TcpStream::connect_timeout(&(target, port).into(), CONNECT))?;
    let Ok(connected) = connected else { return Ok(None) };
    thread::scope(|scope| {
        let arrived = scope.spawn(move || take(&listener));
        give(connected, &sent);
        let arrived = arrived.join().ok().flatten();
        Ok((arrived.as_ref() == Some(&sent)).then(|| start.elapsed()))
    })
}

/// What has not gone through is seen by what arrives.
fn give(mut stream: TcpStream, bytes: &[u8]) {
    let _ = stream.set_write_timeout(Some(STALLED));
    let _ = stream.write_all(bytes);
}

fn take(listener: &TcpListener) -> Option<Vec<u8>> {
    listener.set_nonblocking(true).ok()?;
    let (mut stream, _) = wait::until("a TCP connection", CONNECT, || listener.accept().ok()).ok()?;
    stream.set_nonblocking(false).ok()?;
    stream.set_read_timeout(Some(STALLED)).ok()?;
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).ok()?;
    Some(bytes)
}

/// Sends `count` datagrams of `size` bytes of payload to `target`; how many of them arrive whole at
/// `server`.
///
/// # Errors
/// When a socket cannot be made.
pub fn datagrams(
    client: &Host,
    server: &Host,
    target: IpAddr,
    count: usize,
    size: usize,
) -> Result<usize, LabError> {
    let doing = || LabError::io("opening a UDP socket");
    let there = client.inside(|| UdpSocket::bind((any(target), 0)))?.map_err(doing())?;
    let here = server.inside(|| UdpSocket::bind((any(target), 0)))?.map_err(doing())?;
    here.set_read_timeout(Some(ANSWER)).map_err(doing())?;
    let port = here.local_addr().map_err(doing())?.port();
    let payload: Vec<u8> = pattern().take(size).collect();
    let mut packet = vec![0; size + 1];
    let mut arrived = 0;
    for _ in 0..count {
        // One at a time: no buffer on the way is what is asked about. A refusal is silence.
        let _ = there.send_to(&payload, (target, port));
        match here.recv(&mut packet) {
            Ok(length) => arrived += usize::from(packet.get(..length) == Some(payload.as_slice())),
            Err(_) => break,
        }
    }
    Ok(arrived)
}

fn any(target: IpAddr) -> IpAddr {
    match target {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    }
}

/// Bytes whose period, a prime, is no packet's length.
fn pattern() -> impl Iterator<Item = u8> {
    (0..251).cycle()
}

const CONNECT: Duration = Duration::from_secs(5);
const STALLED: Duration = Duration::from_secs(10);
const ANSWER: Duration = Duration::from_secs(2);
