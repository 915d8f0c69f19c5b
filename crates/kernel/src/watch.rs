//! Being told that something changed; what, is for whoever looks.

use std::os::fd::{AsRawFd, BorrowedFd};

use netlink_sys::{SocketAddr, protocols::NETLINK_ROUTE};

use crate::Error;

/// A subscription to every change that may touch a plan.
pub struct Watch(netlink_sys::Socket);

/// `RTNLGRP_LINK, NEIGH, TC, IPV4_IFADDR, IPV4_ROUTE, IPV4_RULE, IPV6_IFADDR, IPV6_ROUTE`.
const GROUPS: [u32; 8] = [1, 3, 4, 5, 7, 8, 9, 11];

impl Watch {
    /// Subscribes. What changes from here on is heard of.
    ///
    /// # Errors
    /// When the kernel refuses the socket.
    pub fn begin() -> Result<Watch, Error> {
        let open = || {
            let mut socket = netlink_sys::Socket::new(NETLINK_ROUTE)?;
            socket.bind(&SocketAddr::new(0, 0))?;
            for group in GROUPS {
                socket.add_membership(group)?;
            }
            socket.set_non_blocking(true)?;
            Ok(socket)
        };
        open().map(Watch).map_err(Error::call("netlink subscription"))
    }

    /// Forgets what was told so far; true if there was something. A full buffer counts: something was lost.
    pub fn drain(&mut self) -> bool {
        let mut heard = false;
        loop {
            match self.0.recv_from_full() {
                Ok(_) => heard = true,
                Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => heard = true,
                Err(_) => return heard,
            }
        }
    }

    /// To wait on.
    pub fn fd(&self) -> BorrowedFd<'_> {
        // SAFETY: the descriptor is open as long as the socket, which outlives the borrow.
        unsafe { BorrowedFd::borrow_raw(self.0.as_raw_fd()) }
    }
}
