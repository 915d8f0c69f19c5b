use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::num::NonZeroU32;
use std::thread;
use std::time::Duration;

use rustix::net::{AddressFamily, Protocol, SocketFlags, SocketType, socket_with};
use serde::Serialize;

use crate::host::Host;
use crate::{LabError, wait};

/// What carries the datagrams of an [`exchange`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// UDP.
    Udp,
    /// IPv4 itself, with this protocol number.
    Protocol(u8),
}

/// A datagram there and the same one back. `None` where nothing arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Exchange {
    /// The client's address as the server saw it.
    pub seen_by_server: Option<IpAddr>,
    /// The server's address as the client saw it in the answer.
    pub seen_by_client: Option<IpAddr>,
}

/// Sends a datagram of `size` bytes of payload to `target`, which `server` answers with the same
/// bytes. With UDP the server may be of the other family: who asks is then behind a translator.
///
/// # Errors
/// When a socket cannot be made.
pub fn exchange(
    client: &Host,
    server: &Host,
    target: impl Into<IpAddr>,
    kind: Kind,
    size: usize,
) -> Result<Exchange, LabError> {
    let target = target.into();
    let doing = || LabError::io(format!("opening a socket for {kind:?}"));
    let there = client.inside(|| open(kind, target, 0))?.map_err(doing())?;
    let here = server.inside(|| open(kind, Ipv6Addr::UNSPECIFIED.into(), 0))?.map_err(doing())?;
    let port = match kind {
        Kind::Udp => here.local_addr().map_err(doing())?.port(),
        Kind::Protocol(_) => 0,
    };
    Ok(answered(&there, &here, (target, port).into(), kind, size))
}

/// The same by UDP to a port of `target` that leads to another one of `server`.
///
/// # Errors
/// When a socket cannot be made, or somebody listens at the server's port.
pub fn exchange_at(
    client: &Host,
    server: &Host,
    target: SocketAddr,
    port: u16,
    size: usize,
) -> Result<Exchange, LabError> {
    let doing = || LabError::io(format!("opening UDP port {port}"));
    let there = client.inside(|| open(Kind::Udp, target.ip(), 0))?.map_err(doing())?;
    let here = server.inside(|| open(Kind::Udp, Ipv6Addr::UNSPECIFIED.into(), port))?.map_err(doing())?;
    Ok(answered(&there, &here, target, Kind::Udp, size))
}

fn answered(there: &UdpSocket, here: &UdpSocket, target: SocketAddr, kind: Kind, size: usize) -> Exchange {
    let payload: Vec<u8> = (0..=u8::MAX).cycle().take(size).collect();
    // A refusal, such as "no route to host", is silence to the other side.
    let sent = there.send_to(&payload, target);
    let asker = sent.ok().and_then(|_| receive(here, kind, &payload));
    let answer = asker.and_then(|asker| {
        here.send_to(&payload, asker).ok()?;
        receive(there, kind, &payload)
    });
    Exchange {
        seen_by_server: asker.map(|address| address.ip().to_canonical()),
        seen_by_client: answer.map(|address| address.ip()),
    }
}

/// A socket of the family of `peer`; of both families where that is IPv6 and the kind is UDP.
fn open(kind: Kind, peer: IpAddr, port: u16) -> io::Result<UdpSocket> {
    let any: IpAddr = match peer {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = match kind {
        Kind::Udp => UdpSocket::bind((any, port))?,
        Kind::Protocol(number) => {
            let protocol = NonZeroU32::new(number.into()).map(Protocol::from_raw);
            let flags = SocketFlags::CLOEXEC;
            socket_with(AddressFamily::INET, SocketType::RAW, flags, protocol)?.into()
        }
    };
    socket.set_read_timeout(Some(ANSWER))?;
    Ok(socket)
}

/// Receives until `payload` arrives; a raw socket also hands over the IPv4 header.
fn receive(socket: &UdpSocket, kind: Kind, payload: &[u8]) -> Option<SocketAddr> {
    let mut packet = [0; 65_535];
    loop {
        let (length, from) = socket.recv_from(&mut packet).ok()?;
        let packet = packet.get(..length)?;
        let body = match kind {
            Kind::Udp => packet,
            Kind::Protocol(_) => packet.get(usize::from(packet.first()? & 0xf) * 4..)?,
        };
        if body == payload {
            return Some(from);
        }
    }
}

/// A TCP connection as both its ends saw it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Stream {
    /// The client's address as the server saw it.
    pub seen_by_server: IpAddr,
    /// The server's address as the client saw it.
    pub seen_by_client: IpAddr,
    /// Segment size that the client sends, in bytes of payload.
    pub mss: Option<u16>,
}

/// Opens a TCP connection to `target`, which `server` accepts by either family, and carries a few bytes
/// both ways.
/// `None` when no connection came about or the bytes did not arrive.
///
/// # Errors
/// When the listening socket cannot be made or `ss` cannot be run.
pub fn stream(client: &Host, server: &Host, target: IpAddr) -> Result<Option<Stream>, LabError> {
    let listener = listen(server, 0)?;
    let port = listener.local_addr().map_err(LabError::io("listening on TCP"))?.port();
    talk(client, listener, (target, port).into())
}

/// The same to a port of `target` that leads to another one of `server`.
///
/// # Errors
/// As [`stream`], and when somebody listens at the server's port.
pub fn stream_at(
    client: &Host,
    server: &Host,
    target: SocketAddr,
    port: u16,
) -> Result<Option<Stream>, LabError> {
    talk(client, listen(server, port)?, target)
}

fn listen(server: &Host, port: u16) -> Result<TcpListener, LabError> {
    server
        .inside(|| TcpListener::bind((Ipv6Addr::UNSPECIFIED, port)))?
        .map_err(LabError::io("listening on TCP"))
}

fn talk(client: &Host, listener: TcpListener, target: SocketAddr) -> Result<Option<Stream>, LabError> {
    let connected = client.inside(|| TcpStream::connect_timeout(&target, CONNECT))?;
    let Ok(connected) = connected else { return Ok(None) };
    thread::scope(|scope| {
        let accepted = scope.spawn(move || accept(&listener));
        let asked = ask(connected).ok();
        let peer = asked.as_ref().and_then(|stream| stream.peer_addr().ok());
        let mss = segment_size(client, target.port())?;
        // The server waits for the end of the stream.
        drop(asked);
        let seen_by_server = accepted.join().ok().flatten();
        let seen = peer.zip(seen_by_server);
        Ok(seen.map(|(peer, seen_by_server)| Stream { seen_by_server, seen_by_client: peer.ip(), mss }))
    })
}

fn accept(listener: &TcpListener) -> Option<IpAddr> {
    listener.set_nonblocking(true).ok()?;
    let (mut stream, from) = wait::until("a TCP connection", CONNECT, || listener.accept().ok()).ok()?;
    stream.set_nonblocking(false).ok()?;
    stream.set_read_timeout(Some(ANSWER)).ok()?;
    let mut greeting = [0; GREETING.len()];
    stream.read_exact(&mut greeting).ok()?;
    stream.write_all(&greeting).ok()?;
    // Keeps the connection until the other side has looked at it and closes.
    let _ = stream.read(&mut greeting);
    Some(from.ip().to_canonical())
}

fn ask(mut stream: TcpStream) -> io::Result<TcpStream> {
    stream.set_read_timeout(Some(ANSWER))?;
    stream.write_all(GREETING)?;
    let mut greeting = [0; GREETING.len()];
    stream.read_exact(&mut greeting)?;
    Ok(stream)
}

fn segment_size(client: &Host, port: u16) -> Result<Option<u16>, LabError> {
    let filter = format!("dport = :{port}");
    let output = client.run(&["ss", "-Htin", "state", "established", &filter])?;
    let mut words = output.stdout.split_whitespace();
    Ok(words.find_map(|word| word.strip_prefix("mss:")).and_then(|mss| mss.parse().ok()))
}

const GREETING: &[u8] = b"hello";
const ANSWER: Duration = Duration::from_secs(1);
const CONNECT: Duration = Duration::from_secs(3);
