//! A socket pair in the place of a tun device: one message is one read or write.
#![allow(dead_code, reason = "each test target uses its part")]

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use straddle_serve::translator::{Report, Serving, Translator};
use straddle_wire::checksum::pseudo6;
use straddle_wire::vnet::{Gso, Header, NEEDS_CSUM};
use straddle_xlat::{Config, eam, rfc6052};

pub(crate) const UDP: u8 = 17;
pub(crate) const TCP: u8 = 6;
/// The host behind the translator, and the one that it talks to as it sees that.
const CLIENT: &str = "2001:db8:c::10";
const SERVER: &str = "2001:db8:64::cb00:710a";

/// One queue; what the kernel would do is done at `kernel`.
pub(crate) struct Device {
    pub(crate) kernel: OwnedFd,
    pub(crate) serving: Serving,
}

/// What the translator wrote: the virtio header and the packet.
pub(crate) type Written = (Header, Vec<u8>);

pub(crate) fn translator(client4: &str) -> Arc<straddle_xlat::Translator> {
    let client = eam::Mapping {
        v6: format!("{CLIENT}/128").parse().unwrap(),
        v4: format!("{client4}/32").parse().unwrap(),
    };
    Arc::new(straddle_xlat::Translator::new(Config {
        pool6: vec![rfc6052::Prefix::new("2001:db8:64::/96".parse().unwrap()).unwrap()],
        eam: eam::Table::new(&[client]).unwrap(),
        ..Config::default()
    }))
}

impl Device {
    /// Begins to serve once these wait to be read, so that they are one batch.
    pub(crate) fn after(waiting: &[Vec<u8>]) -> Device {
        let pair = || socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None);
        let (ours, kernel) = pair().unwrap();
        rustix::io::ioctl_fionbio(&ours, true).unwrap();
        set_socket_timeout(&kernel, Timeout::Recv, Some(Duration::from_secs(10))).unwrap();
        for message in waiting {
            rustix::io::write(&kernel, message).unwrap();
        }
        let one =
            Translator { bridge: "test".into(), translator: translator("198.51.100.10"), queues: vec![ours] };
        Device { kernel, serving: Serving::begin(vec![one]).unwrap() }
    }

    pub(crate) fn give(&self, message: &[u8]) {
        rustix::io::write(&self.kernel, message).unwrap();
    }

    pub(crate) fn take(&self) -> Written {
        let mut room = vec![0; 70_000];
        let length = rustix::io::read(&self.kernel, &mut *room).unwrap();
        let (virtio, packet) = room[..length].split_first_chunk().unwrap();
        (Header::parse(virtio), packet.to_vec())
    }

    pub(crate) fn report(&self) -> Report {
        self.serving.report().remove(0)
    }

    /// Asks for the counters until they are as wanted. (A packet is counted after it was written.)
    pub(crate) fn until(&self, wanted: impl Fn(&Report) -> bool) -> Report {
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            let report = self.report();
            if wanted(&report) {
                return report;
            }
            assert!(Instant::now() < deadline, "{report:?}");
            std::thread::yield_now();
        }
    }
}

/// A packet from client to server with a begun checksum, as a tun device hands it over.
pub(crate) fn message(protocol: u8, port: u16, size: usize, payload: &[u8]) -> Vec<u8> {
    let (header, offset) = if protocol == TCP { (20, 16) } else { (8, 6) };
    let length = header + payload.len();
    let (client, server) = (CLIENT.parse().unwrap(), SERVER.parse().unwrap());
    let mut segment = [port.to_be_bytes(), 53_u16.to_be_bytes()].concat();
    segment.resize(header, 0);
    match protocol {
        TCP => segment[12] = 5 << 4,
        _ => segment[4..6].copy_from_slice(&(length as u16).to_be_bytes()),
    }
    let begun = pseudo6(client, server, protocol, length as u32).value();
    segment[offset..offset + 2].copy_from_slice(&begun.to_be_bytes());
    let (gso, hdr_len) = match (size, protocol) {
        (0, _) => (Gso::None, 0),
        (_, TCP) => (Gso::TcpV6, 60),
        _ => (Gso::UdpL4, 48),
    };
    let virtio = Header {
        flags: NEEDS_CSUM,
        gso,
        hdr_len,
        gso_size: size as u16,
        csum_start: 40,
        csum_offset: offset as u16,
        ..Header::default()
    };
    let mut message = virtio.emit().to_vec();
    message.extend([0x60, 0, 0, 0]);
    message.extend((length as u16).to_be_bytes());
    message.extend([protocol, 64]);
    message.extend(client.octets());
    message.extend(server.octets());
    message.extend(segment);
    message.extend(payload);
    message
}
