//! What programs that go past a device of ours are told of the host for a while (`struct watch` of
//! `bpf/past.h`).

use std::time::Duration;

use aya::Pod;
use rustix::time::{ClockId, clock_gettime};
use straddle_intent::object::Task;

/// The map's name.
pub(super) const MAP: &str = "WATCH";
/// Devices that there is room for.
const DEVICES: usize = 31;

/// What holds of the host until somebody changes it, which whoever tells so watches for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Watch {
    /// For how long that may be relied upon.
    pub lasts: Duration,
    /// How many chains of ours stand at the forward hook; none where a packet must meet one.
    pub chains: Option<u32>,
    /// The least MTU that a route of IPv4 says, in bytes, where one does.
    pub mtu: Option<u32>,
    /// The numbers of the host's devices that are ours.
    pub devices: Vec<u32>,
}

/// `struct watch`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub(super) struct Raw {
    until: u64,
    chains: u32,
    mtu: u32,
    devices: u32,
    device: [u32; DEVICES],
}

// SAFETY: a C structure of integers alone, without a gap.
unsafe impl Pod for Raw {}

impl Watch {
    /// What a program is told that does this. A lender's packets leave by its uplink, so that it needs to know no devices.
    pub(super) fn to(&self, task: Option<&Task>) -> Watch {
        let knows_its_device = matches!(task, Some(Task::Lend(..)));
        let devices = if knows_its_device { Vec::new() } else { self.devices.clone() };
        Watch { devices, ..self.clone() }
    }

    /// As the program reads it, from now on. Of more devices than there is room for nothing is said.
    pub(super) fn raw(&self) -> Raw {
        let now = clock_gettime(ClockId::Monotonic);
        let now = Duration::new(now.tv_sec.cast_unsigned(), now.tv_nsec as u32);
        let fits = self.devices.len() <= DEVICES;
        let until = if fits && !self.lasts.is_zero() { (now + self.lasts).as_nanos() } else { 0 };
        let mut device = [0; DEVICES];
        device.iter_mut().zip(&self.devices).for_each(|(to, from)| *to = *from);
        Raw {
            until: u64::try_from(until).unwrap_or(0),
            // The kernel takes no such number at one hook.
            chains: self.chains.unwrap_or(u32::MAX),
            mtu: self.mtu.unwrap_or(u32::MAX),
            devices: self.devices.len().min(DEVICES) as u32,
            device,
        }
    }
}

#[cfg(test)]
mod tests {
    use straddle_intent::object::{Ends, Tables};

    use super::*;

    #[test]
    fn what_does_not_fit_is_not_said() {
        let watch = |count: u32, lasts: u64| Watch {
            lasts: Duration::from_secs(lasts),
            chains: Some(1),
            mtu: None,
            devices: (0..count).collect(),
        };
        assert!(watch(31, 90).raw().until > 0);
        assert_eq!((watch(32, 90).raw().until, watch(31, 0).raw().until), (0, 0));
        let lends = Task::Lend(Ends::example(), [192, 0, 2, 1].into());
        assert!(watch(32, 90).to(Some(&lends)).raw().until > 0);
        assert_eq!(watch(32, 90).to(Some(&Task::Direct(Tables::example()))).raw().until, 0);
    }
}
