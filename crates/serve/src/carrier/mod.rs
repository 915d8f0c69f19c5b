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
use crate::slot::Slot;
use crate::{Error, Report};
use clients::{Device, Peers};
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
    counters: Arc<Counters>,
    limit: limit::Limit,
    sources: Sources,
}

/// Running loops; they end when this is dropped.
pub struct Serving {
    carriers: Vec<Arc<Shared>>,
    /// By outer protocol and address of ours.
    ends: BTreeMap<(u8, IpAddr), End>,
    // Dropped before the guards, which stand in for a socket as long as it is there.
    loops: Loops,
    /// See [`raw::guard`].
    guards: Vec<OwnedFd>,
}

/// What loops of one outer protocol and address of ours go by.
struct End {
    peers: Arc<Slot<Peers>>,
    /// By where their queues are.
    devices: BTreeMap<usize, Arc<Slot<Device>>>,
}

fn by_device(together: &[Arc<Shared>]) -> BTreeMap<usize, Vec<Arc<Shared>>> {
    let mut devices: BTreeMap<usize, Vec<Arc<Shared>>> = BTreeMap::new();
    for carrier in together {
        devices.entry(Arc::as_ptr(&carrier.queues).addr()).or_default().push(carrier.clone());
    }
    devices
}

impl Serving {
    /// Starts the loops for these carriers.
    ///
    /// # Errors
    /// When a raw socket or a thread can't be had.
    pub fn begin(carriers: Vec<Carrier>) -> Result<Serving, Error> {
        let new = |carrier| Arc::new(Shared::new(carrier, Arc::new(Counters::new())));
        let carriers = carriers.into_iter().map(new).collect();
        let (ends, loops) = (BTreeMap::new(), Loops::new("carrier")?);
        let mut serving = Serving { carriers, ends, loops, guards: Vec::new() };
        for ((protocol, local), together) in serving.together() {
            let end = serving.end(local, &together)?;
            serving.ends.insert((protocol, local), end);
        }
        Ok(serving)
    }

    /// Serves these from here on, which have the protocols, the addresses of ours and the devices that there are.
    /// No packet is lost; a bridge keeps its counters, and one that is the same all that is known of it.
    pub fn exchange(&mut self, carriers: Vec<Carrier>) {
        let former: BTreeMap<String, Arc<Shared>> =
            self.carriers.drain(..).map(|carrier| (carrier.bridge.clone(), carrier)).collect();
        let shared = |carrier: Carrier| match former.get(&carrier.bridge) {
            Some(same) if same.is(&carrier) => same.clone(),
            Some(other) => Arc::new(Shared::new(carrier, other.counters.clone())),
            None => Arc::new(Shared::new(carrier, Arc::new(Counters::new()))),
        };
        self.carriers = carriers.into_iter().map(shared).collect();
        for (key, together) in self.together() {
            let Some(end) = self.ends.get(&key) else { continue };
            for (queues, carriers) in by_device(&together) {
                if let Some(device) = end.devices.get(&queues) {
                    device.put(Arc::new(Device::new(carriers)));
                }
            }
            end.peers.put(Arc::new(Peers::new(together)));
        }
    }

    fn together(&self) -> BTreeMap<(u8, IpAddr), Vec<Arc<Shared>>> {
        let mut ends: BTreeMap<(u8, IpAddr), Vec<Arc<Shared>>> = BTreeMap::new();
        for carrier in &self.carriers {
            ends.entry((carrier.kind.protocol(), carrier.local)).or_default().push(carrier.clone());
        }
        ends
    }

    /// The carriers of one outer protocol and address of ours share one socket.
    fn end(&mut self, local: IpAddr, together: &[Arc<Shared>]) -> Result<End, Error> {
        let peers = Arc::new(Slot::new(Arc::new(Peers::new(together.to_vec()))));
        let mut end = End { peers, devices: BTreeMap::new() };
        let Some(kind) = together.first().map(|carrier| carrier.kind) else { return Ok(end) };
        let socket = Arc::new(raw::open(kind, local)?);
        self.guards.push(raw::guard(kind, local)?);
        for (key, carriers) in by_device(together) {
            let Some(queues) = carriers.first().map(|carrier| carrier.queues.clone()) else { continue };
            let device = Arc::new(Slot::new(Arc::new(Device::new(carriers))));
            for queue in 0..queues.len() {
                let (device, queues, socket) = (device.clone(), queues.clone(), socket.clone());
                self.loops.begin(move |stop| {
                    let Some(tun) = queues.get(queue) else { return Ok(()) };
                    outward::run(&device, tun, (kind, &socket), stop)
                })?;
            }
            end.devices.insert(key, device);
        }
        let peers = end.peers.clone();
        self.loops.begin(move |stop| inward::run(&peers, &socket, stop))?;
        Ok(end)
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

impl Carrier {
    /// Where its ICMPv6 errors come from.
    fn source6(&self) -> Ipv6Addr {
        match (self.inner6, self.local) {
            (Some(own), _) => own,
            (None, IpAddr::V6(local)) => local,
            (None, IpAddr::V4(local)) => local.to_ipv6_mapped(),
        }
    }
}

impl Shared {
    fn new(carrier: Carrier, counters: Arc<Counters>) -> Shared {
        let v6 = carrier.source6();
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
            counters,
            limit: limit::Limit::new(),
            sources: Sources { v4: DUMMY4, v6 },
        }
    }

    /// Whether it is exactly this one.
    fn is(&self, other: &Carrier) -> bool {
        let ends = (self.kind, self.local, self.remote, self.mtu, self.sources.v6);
        ends == (other.kind, other.local, other.remote, other.mtu, other.source6())
            && self.owned == other.owned
            && Arc::ptr_eq(&self.queues, &other.queues)
    }

    /// The largest inner packet that the path takes, as far as we know.
    fn inner_mtu(&self) -> u16 {
        self.mtu.min(self.path.mtu().saturating_sub(self.kind.overhead()))
    }
}
