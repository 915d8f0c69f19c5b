//! An Ethernet carrier: GRE with protocol 0x6558 over IPv6 between two tap devices, in userspace.
//! It exists to show what does not work, on kernels without `ip6gretap`.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::fd::OwnedFd;
use std::thread::{self, JoinHandle};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::ioctl::{Setter, ioctl, opcode};
use rustix::net::{AddressFamily, Protocol, SocketFlags, SocketType, socket_with};
use rustix::pipe::{PipeFlags, pipe_with};

use crate::LabError;
use crate::host::Host;

/// One end: a tap device of this name and a thread that serves it until dropped.
#[derive(Debug)]
pub(crate) struct End {
    stop: Option<OwnedFd>,
    thread: Option<JoinHandle<()>>,
}

impl End {
    /// Makes the tap device `tap` on `host`, carried to the address `remote`.
    pub(crate) fn open(host: &Host, tap: &str, remote: Ipv6Addr) -> Result<End, LabError> {
        let doing = || LabError::io(format!("opening an Ethernet carrier on {}", host.name()));
        let device = host.inside(|| attach(tap))?.map_err(doing())?;
        let socket = host.inside(raw_gre)?.map_err(doing())?;
        let (told, stop) = pipe_with(PipeFlags::CLOEXEC).map_err(LabError::io("making a pipe"))?;
        let remote = SocketAddr::new(IpAddr::V6(remote), 0);
        // A device that vanishes ends the thread; what it would have carried is then lost, as on
        // any cable that is pulled.
        let thread = thread::spawn(move || drop(serve(&device, &socket, remote, &told)));
        Ok(End { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for End {
    fn drop(&mut self) {
        self.stop = None;
        // The thread returns nothing that could be looked at.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

fn raw_gre() -> io::Result<UdpSocket> {
    let gre = std::num::NonZeroU32::new(47).map(Protocol::from_raw);
    let socket = socket_with(AddressFamily::INET6, SocketType::RAW, SocketFlags::CLOEXEC, gre)?;
    Ok(UdpSocket::from(socket))
}

/// Carries frames both ways until the other end of `told` is closed.
fn serve(mut tap: &File, socket: &UdpSocket, remote: SocketAddr, told: &OwnedFd) -> io::Result<()> {
    let mut buffer = [0; 65_536];
    loop {
        let mut fds = [
            PollFd::new(tap, PollFlags::IN),
            PollFd::new(socket, PollFlags::IN),
            PollFd::new(told, PollFlags::IN),
        ];
        poll(&mut fds, None)?;
        let [from_tap, from_peer, stopped] = fds.map(|fd| !fd.revents().is_empty());
        if stopped {
            return Ok(());
        }
        if from_tap {
            let length = tap.read(&mut buffer)?;
            let frame = buffer.get(..length).unwrap_or_default();
            // A peer that cannot be reached loses frames, as a cable would.
            let _ = socket.send_to(&[&GRE_ETHERNET, frame].concat(), remote);
        }
        if from_peer {
            let (length, from) = socket.recv_from(&mut buffer)?;
            let packet = buffer.get(..length).unwrap_or_default();
            if let Some(frame) = packet.strip_prefix(&GRE_ETHERNET)
                && from.ip() == remote.ip()
            {
                // A device that is down takes nothing.
                let _ = tap.write(frame);
            }
        }
    }
}

/// Opens a tap device, making it. It lives as long as the file.
fn attach(name: &str) -> io::Result<File> {
    let file = OpenOptions::new().read(true).write(true).open("/dev/net/tun")?;
    let mut request = [0; IFREQ];
    for (to, from) in request.iter_mut().zip(name.bytes().take(IFNAMSIZ - 1)) {
        *to = from;
    }
    let flags = (IFF_TAP | IFF_NO_PI).to_ne_bytes();
    for (to, from) in request.iter_mut().skip(IFNAMSIZ).zip(flags) {
        *to = from;
    }
    // SAFETY: TUNSETIFF reads and writes a `struct ifreq`, which is as long as `request`, and keeps
    // no pointer to it.
    unsafe {
        ioctl(&file, Setter::<TUNSETIFF, [u8; IFREQ]>::new(request))?;
    }
    Ok(file)
}

/// No flags, version 0, protocol "transparent Ethernet bridging" (RFC 2784, RFC 7637 §3.2).
const GRE_ETHERNET: [u8; 4] = [0, 0, 0x65, 0x58];
/// linux/if.h, linux/if_tun.h.
const IFNAMSIZ: usize = 16;
const IFREQ: usize = 40;
const IFF_TAP: u16 = 0x0002;
const IFF_NO_PI: u16 = 0x1000;
const TUNSETIFF: rustix::ioctl::Opcode = opcode::write::<i32>(b'T', 202);
