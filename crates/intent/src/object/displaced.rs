use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};

use super::{Address, Neighbour, Route};

/// What goes when an address leaves its device, and comes back with it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Displaced {
    /// The address that leaves.
    pub address: Ipv4Addr,
    /// Its device.
    pub dev: String,
    /// Every IPv4 address of the device before, in the kernel's order.
    pub addresses: Vec<Address>,
    /// The IPv4 routes that went with it. Until the address is gone, all that there were.
    pub routes: Vec<Route>,
    /// The device's IPv4 neighbour entries before.
    pub neighbours: Vec<Neighbour>,
}

impl Displaced {
    /// The record of an address itself.
    pub fn record(&self) -> Option<&Address> {
        self.addresses.iter().find(|address| address.net.addr() == self.address)
    }

    /// Both memories of one displacement: the older one knows how it was, the younger what has gone since.
    #[must_use]
    pub fn merged(&self, younger: &Displaced) -> Displaced {
        let mut merged = self.clone();
        merged.routes.extend(younger.routes.iter().filter(|route| !self.routes.contains(route)).cloned());
        let new = |neighbour: &&Neighbour| !self.neighbours.iter().any(|known| known.same_as(neighbour));
        merged.neighbours.extend(younger.neighbours.iter().filter(new).cloned());
        merged
    }
}
