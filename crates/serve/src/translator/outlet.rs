//! The way back into the device, where datagrams of one flow wait for each other as long as the thread
//! has more to read.

use std::io::IoSlice;
use std::os::fd::OwnedFd;

use rustix::io::Errno;
use straddle_wire::ip::Version;
use straddle_wire::vnet::Gso;
use straddle_xlat::{Kind, Out};

use super::Loss;
use super::run::{Datagram, Run};
use super::tally::Tally;

/// Flows whose datagrams are put together at the same time.
const FLOWS: usize = 8;

/// One thread's; made once, so that nothing is allocated per packet.
pub(super) struct Outlet<'a> {
    tun: &'a OwnedFd,
    tally: &'a Tally,
    runs: Vec<Run>,
    /// How many of `runs` are in use, the first ones.
    open: usize,
    /// Whether the device takes runs. Linux before 6.2 does not.
    joining: bool,
}

impl<'a> Outlet<'a> {
    pub(super) fn new(tun: &'a OwnedFd, tally: &'a Tally) -> Outlet<'a> {
        let runs = (0..FLOWS).map(|_| Run::new()).collect();
        Outlet { tun, tally, runs, open: 0, joining: true }
    }

    /// Takes a packet, to be written at once or with others of its flow before [`Outlet::flush`] returns.
    /// `verified` when its checksum is known to be right.
    pub(super) fn take(&mut self, out: &Out<'_>, verified: bool) {
        match Datagram::of(out, verified).filter(|_| self.joining) {
            Some(datagram) => self.place(&datagram),
            None => {
                // Whatever it is, it must not overtake.
                self.flush();
                self.write(out);
            }
        }
    }

    /// Writes all that waits.
    pub(super) fn flush(&mut self) {
        for index in 0..std::mem::take(&mut self.open) {
            self.send(index);
        }
    }

    fn place(&mut self, datagram: &Datagram<'_>) {
        let open = self.runs.get_mut(..self.open).unwrap_or_default();
        if let Some(index) = open.iter().position(|run| run.same_flow(datagram)) {
            if !self.runs.get_mut(index).is_some_and(|run| run.join(datagram)) {
                self.send(index);
                self.begin(index, datagram);
            }
            return;
        }
        if self.open == self.runs.len() {
            self.flush();
        }
        self.begin(self.open, datagram);
        self.open += 1;
    }

    fn begin(&mut self, index: usize, datagram: &Datagram<'_>) {
        if let Some(run) = self.runs.get_mut(index) {
            run.begin(datagram);
        }
    }

    fn send(&mut self, index: usize) {
        let Some(run) = self.runs.get_mut(index) else { return };
        let (count, side) = (run.count(), run.side());
        let bytes = run.finish();
        let length = bytes.len().saturating_sub(straddle_wire::vnet::HEADER);
        match rustix::io::write(self.tun, bytes) {
            Ok(_) => self.tally.forwarded(side, count as u64, length as u64),
            Err(Errno::INVAL) if count > 1 => {
                self.joining = false;
                let (tun, tally) = (self.tun, self.tally);
                run.singles(|parts| forward(tun, tally, side, 1, parts));
            }
            Err(_) => self.tally.lost(Loss::TunRefused, count as u64),
        }
        run.clear();
    }

    fn write(&self, out: &Out<'_>) {
        let offload = out.offload.emit();
        let parts = [&offload[..], out.head, out.payload];
        match out.kind {
            Kind::Forward => forward(self.tun, self.tally, out.side, segments(out), parts),
            Kind::Reply if put(self.tun, parts) => self.tally.answered(),
            Kind::Reply => self.tally.lost(Loss::TunRefused, 1),
        }
    }
}

/// Writes what counts as `packets` packets. What the device does not take ends here: the next may have
/// better luck.
fn forward(tun: &OwnedFd, tally: &Tally, side: Version, packets: u64, parts: [&[u8]; 3]) {
    let [_, header, payload] = parts;
    if put(tun, parts) {
        tally.forwarded(side, packets, (header.len() + payload.len()) as u64);
    } else {
        tally.lost(Loss::TunRefused, packets);
    }
}

fn put(tun: &OwnedFd, parts: [&[u8]; 3]) -> bool {
    rustix::io::writev(tun, &parts.map(IoSlice::new)).is_ok()
}

/// How many packets the kernel makes of it.
fn segments(out: &Out<'_>) -> u64 {
    match out.offload.gso {
        Gso::None => 1,
        Gso::TcpV4 | Gso::TcpV6 | Gso::Udp | Gso::UdpL4 | Gso::Other(_) => {
            let payload = out.len().saturating_sub(out.offload.hdr_len.into());
            payload.div_ceil(usize::from(out.offload.gso_size).max(1)).max(1) as u64
        }
    }
}
