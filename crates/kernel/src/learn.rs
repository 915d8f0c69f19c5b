//! Asking the kernel to learn a neighbour's link-layer address: a gateway's while the host can still ask well,
//! with its own address as the sender; that of an address which nobody shall have yet.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use netlink_packet_core::NLM_F_CREATE;
use netlink_packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourFlags, NeighbourMessage,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::netlink::{Socket, index, link, neighbour};
use crate::{Error, Watch};

/// Waits until the link-layer address of one of `addresses` on `dev` is known; none when it is not after
/// `patience`.
///
/// # Errors
/// When the kernel can't be asked.
pub fn learn(dev: &str, addresses: &[IpAddr], patience: Duration) -> Result<Option<IpAddr>, Error> {
    let deadline = Instant::now() + patience;
    let mut watch = Watch::begin()?;
    let mut socket = Socket::open()?;
    let (_, names) = link::dump(&mut socket)?;
    let device = index(&names, dev)?;
    loop {
        let known = neighbour::dump(&mut socket, &names)?;
        let answered = |address: &&IpAddr| {
            known.iter().any(|n| n.dev == dev && n.address == **address && n.link_address().is_some())
        };
        if let Some(found) = addresses.iter().find(answered) {
            return Ok(Some(*found));
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(None);
        }
        for address in addresses {
            // NTF_USE starts the resolution without a packet of ours.
            let message = RouteNetlinkMessage::NewNeighbour(used(device, *address));
            socket.change("ip neigh use", message, NLM_F_CREATE)?;
        }
        wait(&mut watch, left)?;
    }
}

fn used(device: u32, address: IpAddr) -> NeighbourMessage {
    let mut message = NeighbourMessage::default();
    message.header.family = if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    message.header.ifindex = device;
    message.header.flags = NeighbourFlags::Use;
    let destination = match address {
        IpAddr::V4(ip) => NeighbourAddress::Inet(ip),
        IpAddr::V6(ip) => NeighbourAddress::Inet6(ip),
    };
    message.attributes = vec![NeighbourAttribute::Destination(destination)];
    message
}

fn wait(watch: &mut Watch, left: Duration) -> Result<(), Error> {
    let timeout = Timespec { tv_sec: left.as_secs().cast_signed(), tv_nsec: left.subsec_nanos().into() };
    let fd = watch.fd();
    let mut fds = [PollFd::new(&fd, PollFlags::IN)];
    match poll(&mut fds, Some(&timeout)) {
        Ok(_) | Err(rustix::io::Errno::INTR) => {}
        Err(errno) => return Err(Error::call("poll")(errno.into())),
    }
    watch.drain();
    Ok(())
}
