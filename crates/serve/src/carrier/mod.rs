//! Tun carriers: what the kernel sends into a tun device goes to the peer in outer packets, and back.
//! Peers may share a device, where each has networks of its own.
//! One thread for each queue of each device, one for each outer protocol and address of ours.

mod clients;
mod inward;
mod limit;
mod outward;
mod path;
mod trouble;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::Arc;

use straddle_encap::Kind;
use straddle_encap::errors::{DUMMY4, Sources};

use crate::counters::Counters;
use crate::loops::Loops;
use crate::raw::{self, Name};
use crate::{Error, Report};
use clients::Device;
use path::Path;

/// A carrier to be served.
pub struct Carrier {
    /// The bridge that it belongs to.
    pub bridge: String,
    /// Its format on the wire.
    pub kind: Kind,
    /// Our outer address.
    pub local: IpAddr,
    /// The peer's: packets from others are not ours.
    pub remote: IpAddr,
    /// The device's MTU in bytes.
    pub mtu: u16,
    /// Our own address in the tunnel, where it carries IPv6: ICMP errors come from there.
    pub inner6: Option<Ipv6Addr>,
    /// What the peer may send from and what leads to it, where others share the device: networks without
    /// bits behind their lengths. Empty: the device is its alone.
    pub owned: Vec<(Ipv6Addr, u8)>,
    /// The open queues of its device: tun with virtio headers, not blocking. Carriers that share a device have
    /// the same ones.
    pub queues: Arc<Vec<OwnedFd>>,
}

/// A carrier as its loops share it.
pub(crate) struct Shared {
    bridge: String,
    kind: Kind,
    local: IpAddr,
    remote: IpAddr,
    to: Name,
    mtu: u16,
    owned: Vec<(Ipv6Addr, u8)>,
    queues: Arc<Vec<OwnedFd>>,
    path: Path,
    counters: Counters,
    limit: limit::Limit,
    sources: Sources,
}

/// Running loops; they end when this is dropped.
pub struct Serving {
    carriers: Vec<Arc<Shared>>,
    // Dropped before the guards, which stand in for a socket as long as it is there.
    loops: Loops,
    /// See [`raw::guard`].
    guards: Vec<OwnedFd>,
}

impl Serving {
    /// Starts the loops for these carriers.
    ///
    /// # Errors
    /// When a raw socket or a thread can't be had.
    pub fn begin(carriers: Vec<Carrier>) -> Result<Serving, Error> {
        let carriers = carriers.into_iter().map(|carrier| Arc::new(Shared::new(carrier))).collect();
        let mut serving = Serving { carriers, loops: Loops::new("carrier")?, guards: Vec::new() };
        let mut ends: BTreeMap<(u8, IpAddr), Vec<Arc<Shared>>> = BTreeMap::new();
        for carrier in &serving.carriers {
            ends.entry((carrier.kind.protocol(), carrier.local)).or_default().push(carrier.clone());
        }
        for ((_, local), together) in ends {
            serving.end(local, together)?;
        }
        Ok(serving)
    }

    /// The carriers of one outer protocol and address of ours share one socket.
    fn end(&mut self, local: IpAddr, together: Vec<Arc<Shared>>) -> Result<(), Error> {
        let Some(kind) = together.first().map(|carrier| carrier.kind) else { return Ok(()) };
        let socket = Arc::new(raw::open(kind, local)?);
        self.guards.push(raw::guard(kind, local)?);
        let mut devices: BTreeMap<usize, Vec<Arc<Shared>>> = BTreeMap::new();
        for carrier in &together {
            devices.entry(Arc::as_ptr(&carrier.queues).addr()).or_default().push(carrier.clone());
        }
        for carriers in devices.into_values() {
            let queues = carriers.first().map_or(0, |carrier| carrier.queues.len());
            let device = Arc::new(Device::new(carriers));
            for queue in 0..queues {
                let (device, socket) = (device.clone(), socket.clone());
                self.loops.begin(move |stop| outward::run(&device, queue, &socket, stop))?;
            }
        }
        self.loops.begin(move |stop| inward::run(&together, &socket, stop))
    }

    /// The counters of each carrier.
    pub fn report(&self) -> Vec<Report> {
        let one = |carrier: &Arc<Shared>| carrier.counters.report(&carrier.bridge, carrier.inner_mtu());
        self.carriers.iter().map(one).collect()
    }

    /// Can be read from once a loop has ended by itself: a device has gone.
    pub fn ended(&self) -> BorrowedFd<'_> {
        self.loops.ended()
    }
}

impl Shared {
    fn new(carrier: Carrier) -> Shared {
        let v6 = match (carrier.inner6, carrier.local) {
            (Some(own), _) => own,
            (None, IpAddr::V6(local)) => local,
            (None, IpAddr::V4(local)) => local.to_ipv6_mapped(),
        };
        Shared {
            path: Path::new(carrier.remote),
            bridge: carrier.bridge,
            kind: carrier.kind,
            local: carrier.local,
            remote: carrier.remote,
            to: Name::of(carrier.remote),
            owned: carrier.owned,
            mtu: carrier.mtu,
            queues: carrier.queues,
            counters: Counters::new(),
            limit: limit::Limit::new(),
            sources: Sources { v4: DUMMY4, v6 },
        }
    }

    /// The largest inner packet that the path takes, as far as we know.
    fn inner_mtu(&self) -> u16 {
        self.mtu.min(self.path.mtu().saturating_sub(self.kind.overhead()))
    }
}
