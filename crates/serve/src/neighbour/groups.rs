//! Groups that are joined for single addresses, so that switches that snoop MLD let their solicitations through.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv6Addr;
use std::os::fd::OwnedFd;

use rustix::net::sockopt::{set_ipv6_add_membership, set_ipv6_drop_membership};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};

use crate::Error;

/// Groups of one socket: well below what the kernel's least limit of a socket's options (`optmem_max`, 20 KiB) allows.
const EACH: usize = 128;

/// The groups of one device. They are left with the sockets.
pub(super) struct Groups {
    index: u32,
    /// Each with the groups that were joined by it.
    sockets: Vec<(OwnedFd, usize)>,
    /// By which of the sockets.
    joined: BTreeMap<Ipv6Addr, usize>,
    refused: usize,
}

impl Groups {
    /// None yet, on the device of this number.
    pub(super) fn new(index: u32) -> Groups {
        Groups { index, sockets: Vec::new(), joined: BTreeMap::new(), refused: 0 }
    }

    /// Joins these and leaves others.
    pub(super) fn follow(&mut self, wanted: &BTreeSet<Ipv6Addr>) -> Result<(), Error> {
        let index = self.index;
        let sockets = &mut self.sockets;
        self.joined.retain(|group, place| {
            let stays = wanted.contains(group);
            if let Some((socket, count)) = sockets.get_mut(*place).filter(|_| !stays) {
                // One that the kernel has left already, with its device, is left.
                let _ = set_ipv6_drop_membership(&*socket, group, index);
                *count -= 1;
            }
            stays
        });
        self.refused = 0;
        for group in wanted {
            if !self.joined.contains_key(group) {
                self.join(*group)?;
            }
        }
        Ok(())
    }

    pub(super) fn joined(&self) -> usize {
        self.joined.len()
    }

    pub(super) fn refused(&self) -> usize {
        self.refused
    }

    /// By the first socket that has room.
    fn join(&mut self, group: Ipv6Addr) -> Result<(), Error> {
        let place = match self.sockets.iter().position(|(_, count)| *count < EACH) {
            Some(place) => place,
            None => {
                let made = socket_with(AddressFamily::INET6, SocketType::DGRAM, SocketFlags::CLOEXEC, None);
                self.sockets.push((made.map_err(Error::call("socket"))?, 0));
                self.sockets.len() - 1
            }
        };
        let Some((socket, count)) = self.sockets.get_mut(place) else { return Ok(()) };
        if set_ipv6_add_membership(&*socket, &group, self.index).is_ok() {
            *count += 1;
            self.joined.insert(group, place);
        } else {
            self.refused += 1;
        }
        Ok(())
    }
}
