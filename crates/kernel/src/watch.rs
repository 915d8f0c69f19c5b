//! Being told that something changed; what, is for whoever looks.

use std::os::fd::{AsFd as _, AsRawFd, BorrowedFd, OwnedFd};

use netlink_sys::Socket;
use netlink_sys::{SocketAddr, protocols::NETLINK_NETFILTER, protocols::NETLINK_ROUTE};
use rustix::event::epoll;

use crate::Error;

/// A subscription to every change that may touch a plan.
pub struct Watch {
    sockets: Vec<Socket>,
    /// Readable when one of them is.
    news: OwnedFd,
}

/// `RTNLGRP_LINK, NEIGH, TC, IPV4_IFADDR, IPV4_ROUTE, IPV4_RULE, IPV6_IFADDR, IPV6_ROUTE, IPV6_RULE`, and what
/// tells of forwarding and reverse-path filters: `IPV4_NETCONF, IPV6_NETCONF`.
const ROUTING: [u32; 11] = [1, 3, 4, 5, 7, 8, 9, 11, 19, 24, 25];
/// `NFNLGRP_NFTABLES`.
const FILTERING: [u32; 1] = [7];

impl Watch {
    /// Subscribes. What changes from here on is heard of.
    ///
    /// # Errors
    /// When the kernel refuses the socket.
    pub fn begin() -> Result<Watch, Error> {
        let open = || {
            let mut sockets = vec![subscribed(NETLINK_ROUTE, &ROUTING)?];
            // A kernel without nftables has nothing to tell of them.
            sockets.extend(subscribed(NETLINK_NETFILTER, &FILTERING));
            let news = epoll::create(epoll::CreateFlags::CLOEXEC)?;
            for socket in &sockets {
                epoll::add(&news, fd(socket), epoll::EventData::new_u64(0), epoll::EventFlags::IN)?;
            }
            Ok(Watch { sockets, news })
        };
        open().map_err(Error::call("netlink subscription"))
    }

    /// Forgets what was told so far; true if there was something. A full buffer counts: something was lost.
    pub fn drain(&mut self) -> bool {
        let mut heard = false;
        for socket in &self.sockets {
            loop {
                match socket.recv_from_full() {
                    Ok(_) => heard = true,
                    Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => heard = true,
                    Err(_) => break,
                }
            }
        }
        heard
    }

    /// To wait on.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.news.as_fd()
    }
}

fn subscribed(protocol: isize, groups: &[u32]) -> std::io::Result<Socket> {
    let mut socket = Socket::new(protocol)?;
    socket.bind(&SocketAddr::new(0, 0))?;
    for group in groups {
        socket.add_membership(*group)?;
    }
    socket.set_non_blocking(true)?;
    Ok(socket)
}

fn fd(socket: &Socket) -> BorrowedFd<'_> {
    // SAFETY: the descriptor is open as long as the socket, which outlives the borrow.
    unsafe { BorrowedFd::borrow_raw(socket.as_raw_fd()) }
}
