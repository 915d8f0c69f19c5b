//! tun devices (`Documentation/networking/tuntap.rst`, `linux/if_tun.h`).

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt as _;

use crate::Error;

const TUNSETIFF: libc::c_ulong = 0x4004_54ca;
const TUNSETPERSIST: libc::c_ulong = 0x4004_54cb;
const TUNGETIFF: libc::c_ulong = 0x8004_54d2;
const TUNSETOFFLOAD: libc::c_ulong = 0x4004_54d0;
/// A tun device without packet information, with virtio headers, with several queues.
const FLAGS: libc::c_short = 0x0001 | 0x1000 | 0x4000 | 0x0100;
/// `IFF_PERSIST`.
const PERSISTENT: libc::c_short = 0x0800;
/// `IFF_TUN_EXCL`: an error where the device exists.
const EXCLUSIVE: i32 = 0x8000;
/// `TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_TSO_ECN`.
const OFFLOADS: libc::c_ulong = 1 | 2 | 4 | 8;
/// `TUN_F_USO4 | TUN_F_USO6`; Linux before 6.2 has not got them.
const UDP_OFFLOADS: libc::c_ulong = 0x20 | 0x40;

/// A tun device that lives as long as this value, until it is told to stay.
pub(crate) struct Device(File);

impl Device {
    /// Makes it stay when nobody has it open.
    pub(crate) fn persist(self) -> Result<(), Error> {
        ioctl(&self.0, TUNSETPERSIST, 1).map_err(Error::call("TUNSETPERSIST"))
    }
}

/// Makes a device of this name.
pub(crate) fn create(name: &str) -> Result<Device, Error> {
    attach(name, EXCLUSIVE).map(Device)
}

/// Opens `count` queues of a device that `up` made, not blocking, with every offload that the
/// kernel has: the only thing of this crate that `serve` needs.
///
/// # Errors
/// When the device is not there, or has been opened by somebody else with other flags.
pub fn open_queues(name: &str, count: usize) -> Result<Vec<OwnedFd>, Error> {
    let mut queues = Vec::with_capacity(count);
    for _ in 0..count {
        let queue = attach(name, 0)?;
        // Where there is no such device, attaching has made one that goes with this descriptor.
        if flags(&queue)? & PERSISTENT == 0 {
            return Err(Error::NoDevice(name.into()));
        }
        let all = ioctl(&queue, TUNSETOFFLOAD, OFFLOADS | UDP_OFFLOADS);
        all.or_else(|_| ioctl(&queue, TUNSETOFFLOAD, OFFLOADS)).map_err(Error::call("TUNSETOFFLOAD"))?;
        queues.push(queue.into());
    }
    Ok(queues)
}

fn attach(name: &str, more: i32) -> Result<File, Error> {
    let path = "/dev/net/tun";
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(libc::O_NONBLOCK)
        .open(path)
        .map_err(Error::file(path))?;
    let mut request =
        Request { name: [0; libc::IFNAMSIZ], flags: FLAGS | more as libc::c_short, rest: [0; 22] };
    for (to, from) in request.name.iter_mut().zip(name.bytes().take(libc::IFNAMSIZ - 1)) {
        *to = from;
    }
    // SAFETY: TUNSETIFF reads and writes one `struct ifreq`, whose size and layout `Request` has.
    let done = unsafe { libc::ioctl(file.as_raw_fd(), TUNSETIFF, &raw mut request) };
    if done < 0 {
        return Err(Error::call("TUNSETIFF")(io::Error::last_os_error()));
    }
    Ok(file)
}

/// `struct ifreq` with the flags in its union.
#[repr(C)]
struct Request {
    name: [u8; libc::IFNAMSIZ],
    flags: libc::c_short,
    rest: [u8; 22],
}

fn flags(queue: &File) -> Result<libc::c_short, Error> {
    let mut request = Request { name: [0; libc::IFNAMSIZ], flags: 0, rest: [0; 22] };
    // SAFETY: TUNGETIFF writes one `struct ifreq`, whose size and layout `Request` has.
    let done = unsafe { libc::ioctl(queue.as_raw_fd(), TUNGETIFF, &raw mut request) };
    if done < 0 { Err(Error::call("TUNGETIFF")(io::Error::last_os_error())) } else { Ok(request.flags) }
}

fn ioctl(file: &File, request: libc::c_ulong, value: libc::c_ulong) -> io::Result<()> {
    // SAFETY: these requests take their argument by value.
    let done = unsafe { libc::ioctl(file.as_raw_fd(), request, value) };
    if done < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
