//! A router that tells its network where the internet is (RFC 4861), with the NAT64's prefix (RFC 8781),
//! which few routers' daemons can tell.

use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddrV6, UdpSocket};
use std::os::fd::OwnedFd;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::sockopt::{set_ipv6_multicast_hops, set_ipv6_multicast_loop, set_ipv6_unicast_hops};
use rustix::net::{AddressFamily, SocketFlags, SocketType, ipproto, socket_with};
use rustix::pipe::{PipeFlags, pipe_with};

use crate::LabError;
use crate::host::Host;
use crate::wait;

/// What a router advertises.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Advertisement {
    /// For how long it is a default router, in seconds.
    pub router_lifetime: u16,
    /// A /64 that is on the link and that hosts make addresses from (RFC 4862).
    pub prefix: Option<Ipv6Addr>,
    /// A NAT64's /96, with its lifetime in seconds: a multiple of 8, at most 65528 (RFC 8781 §4).
    pub pref64: Option<(Ipv6Addr, u16)>,
    /// A resolver (RFC 8106 §5.1).
    pub resolver: Option<Ipv6Addr>,
}

impl Advertisement {
    /// The ICMPv6 message, whose checksum is left to the kernel.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        // Type, code, checksum, hop limit of the network's hosts, flags.
        let mut message = vec![134, 0, 0, 0, 64, 0];
        message.extend(self.router_lifetime.to_be_bytes());
        // Reachable time and retransmission timer are not specified.
        message.extend([0; 8]);
        if let Some(prefix) = self.prefix {
            // On-link and autonomous flags (RFC 4861 §4.6.2).
            message.extend([3, 4, 64, 0xc0]);
            message.extend(LIFETIME.to_be_bytes());
            message.extend(LIFETIME.to_be_bytes());
            message.extend([0; 4]);
            message.extend(prefix.octets());
        }
        if let Some((prefix, lifetime)) = self.pref64 {
            message.extend([38, 2]);
            // The lifetime in units of 8 seconds stands above the three bits of the prefix length, which are
            // 0 for 96.
            message.extend((lifetime & !7).to_be_bytes());
            message.extend(prefix.octets().iter().take(12));
        }
        if let Some(resolver) = self.resolver {
            message.extend([25, 3, 0, 0]);
            message.extend(LIFETIME.to_be_bytes());
            message.extend(resolver.octets());
        }
        message
    }
}

/// Sends an [`Advertisement`] at once, when asked (router solicitation), and every three seconds, until
/// dropped.
#[derive(Debug)]
pub struct Advertiser {
    stop: Option<OwnedFd>,
    thread: Option<JoinHandle<()>>,
}

impl Advertiser {
    /// Starts on a device of `router`, from a link-local address that it has there.
    ///
    /// # Errors
    /// When the device does not exist, does not get the address, or the socket cannot be made.
    pub fn start(
        router: &Host,
        device: &str,
        from: Ipv6Addr,
        what: &Advertisement,
    ) -> Result<Advertiser, LabError> {
        let index = index(router, device)?;
        let open = || router.inside(|| open(SocketAddrV6::new(from, 0, 0, index)));
        let socket = wait::until(&format!("{from} at {}", router.name()), START, || open().ok()?.ok())?;
        let (told, stop) = pipe_with(PipeFlags::CLOEXEC).map_err(LabError::io("making a pipe"))?;
        let message = what.encode();
        let all_nodes = SocketAddrV6::new(ALL_NODES, 0, 0, index);
        // A device that vanishes ends the thread: a router without a network has nobody to tell.
        let thread = thread::spawn(move || drop(serve(&socket, &message, all_nodes, &told)));
        Ok(Advertiser { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Advertiser {
    fn drop(&mut self) {
        self.stop = None;
        // The thread returns nothing that could be looked at.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

fn index(router: &Host, device: &str) -> Result<u32, LabError> {
    let shown = router.ip_json(&format!("link show dev {device}"))?;
    let index = shown.get(0).and_then(|link| link.get("ifindex")?.as_u64());
    index
        .and_then(|index| u32::try_from(index).ok())
        .ok_or_else(|| LabError::Unreadable { tool: "ip", text: shown.to_string() })
}

fn open(from: SocketAddrV6) -> io::Result<UdpSocket> {
    let flags = SocketFlags::CLOEXEC;
    let socket = socket_with(AddressFamily::INET6, SocketType::RAW, flags, Some(ipproto::ICMPV6))?;
    // Hosts believe no router advertisement that may have come through a router (RFC 4861 §6.1.2).
    set_ipv6_multicast_hops(&socket, 255)?;
    set_ipv6_unicast_hops(&socket, Some(255))?;
    set_ipv6_multicast_loop(&socket, false)?;
    rustix::net::bind(&socket, &from)?;
    let socket = UdpSocket::from(socket);
    socket.set_nonblocking(true)?;
    // A bound socket receives what is sent to its address alone, a raw one also to groups that it joined.
    socket.join_multicast_v6(&ALL_ROUTERS, from.scope_id())?;
    Ok(socket)
}

/// Until the other end of `told` is closed.
fn serve(socket: &UdpSocket, message: &[u8], to: SocketAddrV6, told: &OwnedFd) -> io::Result<()> {
    let mut next = Instant::now();
    loop {
        let now = Instant::now();
        if now >= next {
            socket.send_to(message, to)?;
            next = now + BETWEEN;
        }
        let left = Timespec::try_from(next.saturating_duration_since(now)).ok();
        let mut fds = [PollFd::new(socket, PollFlags::IN), PollFd::new(told, PollFlags::IN)];
        poll(&mut fds, left.as_ref())?;
        let [asked, told] = fds;
        if !told.revents().is_empty() {
            return Ok(());
        }
        if !asked.revents().is_empty() && solicited(socket)? {
            next = now;
        }
    }
}

/// Reads all that has arrived; whether a host asks for a router.
fn solicited(socket: &UdpSocket) -> io::Result<bool> {
    let mut message = [0; 1500];
    let mut solicited = false;
    loop {
        match socket.recv_from(&mut message) {
            Ok((length, from)) => {
                let local = matches!(from.ip(), IpAddr::V6(from) if from.is_unicast_link_local());
                solicited |= length >= 8 && local && message.first() == Some(&133);
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(solicited),
            Err(error) => return Err(error),
        }
    }
}

const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
const ALL_ROUTERS: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 2);
/// Of prefixes and resolvers, in seconds.
const LIFETIME: u32 = 86_400;
/// The shortest time between two that nobody asked for (RFC 4861 §6.2.1).
const BETWEEN: Duration = Duration::from_secs(3);
const START: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::Advertisement;

    fn check(what: &Advertisement, expected: &str) {
        let hex: String = what.encode().iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, expected.split_whitespace().collect::<String>(), "{what:?}");
    }

    #[test]
    fn each_option_has_its_bytes() {
        let bare = Advertisement { router_lifetime: 1800, ..Advertisement::default() };
        let with = |change: fn(&mut Advertisement)| {
            let mut what = bare.clone();
            change(&mut what);
            what
        };
        let header = "86000000 40000708 00000000 00000000";
        check(&bare, header);
        check(
            &with(|what| what.prefix = "2001:db8:eec0::".parse().ok()),
            &format!("{header} 030440c0 00015180 00015180 00000000 20010db8eec000000000000000000000"),
        );
        check(
            &with(|what| what.pref64 = "2001:db8:64::".parse().ok().map(|prefix| (prefix, 600))),
            &format!("{header} 26020258 20010db8 00640000 00000000"),
        );
        check(
            &with(|what| what.pref64 = "64:ff9b::".parse().ok().map(|prefix| (prefix, 65_535))),
            &format!("{header} 2602fff8 0064ff9b 00000000 00000000"),
        );
        check(
            &with(|what| what.resolver = "2001:db8:53::53".parse().ok()),
            &format!("{header} 19030000 00015180 20010db8005300000000000000000053"),
        );
    }
}
