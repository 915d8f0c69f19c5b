//! Datagrams in batches: recvmmsg(2), sendmmsg(2), and super-datagrams (`UDP_GRO`, `UDP_SEGMENT`), which the
//! kernel takes along its way as one.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd as _, OwnedFd};

use rustix::io::Errno;

use crate::mmsg::{self, BATCH, Control, blank, for_each_control};

use super::name::{name_of, socket_address};
use super::option;

/// Datagrams that one message may be split into (`UDP_MAX_SEGMENTS` of older kernels).
const SEGMENTS: usize = 64;
/// Bytes that one message may have.
const LARGEST: usize = 65_000;
/// Parts of messages in one system call.
const PARTS: usize = 2048;
/// Bytes that wait in a listener, and in a session's socket.
const WAITING: i32 = 4 << 20;

/// Where a message came from, and the address it came to, where that can be another for each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Ends {
    pub(super) client: SocketAddr,
    pub(super) own: Option<IpAddr>,
}

/// The rooms of one loop; nothing is allocated for a datagram.
pub(super) struct Desk {
    pub(super) inbox: Inbox,
    pub(super) outbox: Outbox,
}

impl Desk {
    pub(super) fn new() -> Desk {
        Desk { inbox: Inbox(mmsg::Inbox::new()), outbox: Outbox::new() }
    }
}

/// Asks a socket for super-datagrams and long queues; and, given a family (true for IPv6), for the address that each
/// datagram came to.
pub(super) fn prepare(socket: &OwnedFd, told_in_v6: Option<bool>) -> Result<(), Errno> {
    // Without them it goes slower.
    let _ = option::set(socket, libc::SOL_UDP, libc::UDP_GRO, 1);
    option::set_receive_queue(socket, WAITING);
    option::set_send_queue(socket, WAITING);
    match told_in_v6 {
        None => Ok(()),
        Some(true) => option::set(socket, libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO, 1),
        Some(false) => option::set(socket, libc::IPPROTO_IP, libc::IP_PKTINFO, 1),
    }
}

/// Receives batches.
pub(super) struct Inbox(mmsg::Inbox);

/// One received message: a datagram, or several of `segment` bytes each, the last one maybe shorter.
#[derive(Clone, Copy, Debug)]
pub(super) struct Received<'a> {
    pub(super) ends: Option<Ends>,
    bytes: &'a [u8],
    segment: usize,
}

impl<'a> Received<'a> {
    /// Its datagrams.
    pub(super) fn datagrams(self) -> impl Iterator<Item = &'a [u8]> {
        // One without payload is a datagram too.
        let empty = self.bytes.is_empty().then_some(self.bytes);
        empty.into_iter().chain(self.bytes.chunks(self.segment.max(1)))
    }
}

impl Inbox {
    /// How many messages a batch has at most.
    pub(super) const BATCH: usize = mmsg::BATCH;

    /// Receives what is there; how many messages that is.
    pub(super) fn receive(&mut self, socket: &OwnedFd) -> Result<usize, Errno> {
        self.0.receive(socket.as_fd()).map_err(number)
    }

    /// Message `index` of those that the last call received.
    pub(super) fn message(&self, index: usize) -> Option<Received<'_>> {
        let (header, from, bytes) = self.0.message(index)?;
        let mut received = Received { ends: None, bytes, segment: bytes.len() };
        let mut own = None;
        read_controls(header, |found| match found {
            Told::Segment(size) => received.segment = size,
            Told::Own(address) => own = Some(address),
        });
        received.ends = socket_address(from).map(|client| Ends { client, own });
        Some(received)
    }
}

/// Sends batches.
pub(super) struct Outbox {
    messages: Vec<libc::mmsghdr>,
    controls: Vec<Control>,
    parts: Vec<libc::iovec>,
    groups: Vec<Group>,
}

// SAFETY: the pointers inside are written anew before every use and mean nothing between.
unsafe impl Send for Outbox {}

/// Datagrams of one size, the last one maybe shorter, that are sent as one message.
#[derive(Clone, Copy, Debug)]
struct Group {
    /// Its first part, and how many there are.
    part: usize,
    parts: usize,
    datagrams: usize,
    size: usize,
    bytes: usize,
    /// Nothing can be added.
    full: bool,
}

/// What became of datagrams.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Sent {
    pub(super) datagrams: usize,
    /// Payload, without the heads.
    pub(super) bytes: usize,
    pub(super) lost: usize,
    /// The target's host has told that nobody is there; what was to be sent then is lost.
    pub(super) refused: Option<Errno>,
}

/// Where datagrams are sent, and what stands at the head of each.
#[derive(Clone, Copy, Debug)]
pub(super) struct Way<'a> {
    pub(super) socket: &'a OwnedFd,
    /// None for a socket that is connected.
    pub(super) to: Option<Ends>,
    pub(super) head: &'a [u8],
}

impl Outbox {
    fn new() -> Outbox {
        Outbox {
            messages: vec![blank(); BATCH],
            controls: vec![Control::EMPTY; BATCH],
            parts: Vec::with_capacity(PARTS),
            groups: Vec::with_capacity(BATCH),
        }
    }

    /// Sends datagrams in order. `together` is whether the path takes super-datagrams, as far as is known.
    pub(super) fn send<'a>(
        &mut self,
        way: Way<'_>,
        datagrams: impl Iterator<Item = &'a [u8]>,
        together: &mut bool,
    ) -> Sent {
        let mut sent = Sent::default();
        let mut rest = datagrams.peekable();
        while rest.peek().is_some() {
            self.groups.clear();
            self.parts.clear();
            while let Some(datagram) =
                rest.next_if(|datagram| self.has_room(datagram.len() + way.head.len(), *together))
            {
                self.pack(way.head, datagram, *together);
            }
            self.flush(way, together, &mut sent);
        }
        sent
    }

    fn has_room(&self, size: usize, together: bool) -> bool {
        self.parts.len() + 2 <= PARTS
            && (self.groups.len() < BATCH
                || self.groups.last().is_some_and(|group| group.takes(size, together)))
    }

    fn pack(&mut self, head: &[u8], datagram: &[u8], together: bool) {
        let size = head.len() + datagram.len();
        if !self.groups.last().is_some_and(|group| group.takes(size, together)) {
            let part = self.parts.len();
            self.groups.push(Group { part, parts: 0, datagrams: 0, size, bytes: 0, full: false });
        }
        let Some(group) = self.groups.last_mut() else { return };
        group.full = size < group.size || size == 0;
        group.datagrams += 1;
        group.bytes += size;
        for piece in [head, datagram] {
            let vector = libc::iovec { iov_base: piece.as_ptr().cast_mut().cast(), iov_len: piece.len() };
            match self.parts.last_mut() {
                // What lies behind one another is one part.
                Some(last)
                    if group.parts > 0 && last.iov_base.addr() + last.iov_len == vector.iov_base.addr() =>
                {
                    last.iov_len += vector.iov_len;
                }
                Some(_) | None if !piece.is_empty() => {
                    self.parts.push(vector);
                    group.parts += 1;
                }
                Some(_) | None => {}
            }
        }
    }

    fn flush(&mut self, way: Way<'_>, together: &mut bool, sent: &mut Sent) {
        let name = way.to.map(|ends| name_of(ends.client));
        for index in 0..self.groups.len() {
            self.address(index, name.as_ref(), way.to.and_then(|ends| ends.own));
        }
        let mut next = 0;
        while next < self.groups.len() {
            let Some(rest) = self.messages.get_mut(next..self.groups.len()) else { return };
            // SAFETY: every message in `rest` was addressed above; what it points to lives in `self`, in `name`
            // and in what the caller holds, all of which outlive this call.
            let taken = unsafe { mmsg::send(way.socket.as_fd(), rest, FLAGS) }.map_err(number);
            let groups = self.groups.get(next..).unwrap_or_default();
            match taken {
                Ok(taken) => {
                    for group in groups.iter().take(taken) {
                        sent.datagrams += group.datagrams;
                        sent.bytes += group.bytes - group.datagrams * way.head.len();
                    }
                    next += taken;
                }
                Err(Errno::INTR) => {}
                Err(errno) => {
                    let Some(group) = groups.first().copied() else { return };
                    if group.datagrams > 1 && errno != Errno::AGAIN && errno != Errno::CONNREFUSED {
                        // The path takes no super-datagrams (`UDP_SEGMENT`: each fits into the MTU).
                        *together = false;
                        self.one_by_one(group, way, sent);
                    } else {
                        sent.lost += group.datagrams;
                        if matches!(errno, Errno::CONNREFUSED | Errno::ACCESS | Errno::PROTO) {
                            sent.refused = Some(errno);
                        }
                    }
                    next += 1;
                }
            }
        }
    }

    /// Sends a group's datagrams by themselves.
    fn one_by_one(&mut self, group: Group, way: Way<'_>, sent: &mut Sent) {
        let mut whole = Vec::with_capacity(group.bytes);
        for part in self.parts.get(group.part..group.part + group.parts).unwrap_or_default() {
            // SAFETY: the parts were packed from slices that live until `send` returns.
            whole.extend_from_slice(unsafe {
                std::slice::from_raw_parts(part.iov_base.cast::<u8>(), part.iov_len)
            });
        }
        let name = way.to.map(|ends| name_of(ends.client));
        let mut control = Control::EMPTY;
        let length = write_controls(&mut control, None, way.to.and_then(|ends| ends.own));
        for datagram in whole.chunks(group.size.max(1)) {
            let mut part =
                libc::iovec { iov_base: datagram.as_ptr().cast_mut().cast(), iov_len: datagram.len() };
            let mut message = blank();
            write_name(&mut message.msg_hdr, name.as_ref());
            (message.msg_hdr.msg_iov, message.msg_hdr.msg_iovlen) = (&raw mut part, 1);
            control.tell(&mut message.msg_hdr, length);
            // SAFETY: what the message points to are `name`, `part`, `control` and `whole`, which live until then.
            match unsafe { mmsg::send(way.socket.as_fd(), std::slice::from_mut(&mut message), FLAGS) } {
                Ok(_) => {
                    sent.datagrams += 1;
                    sent.bytes += datagram.len() - way.head.len();
                }
                Err(_) => sent.lost += 1,
            }
        }
    }

    fn address(
        &mut self,
        index: usize,
        name: Option<&(libc::sockaddr_storage, libc::socklen_t)>,
        own: Option<IpAddr>,
    ) {
        let (Some(message), Some(control), Some(group)) =
            (self.messages.get_mut(index), self.controls.get_mut(index), self.groups.get(index))
        else {
            return;
        };
        let header = &mut message.msg_hdr;
        write_name(header, name);
        let parts = self.parts.get_mut(group.part..group.part + group.parts).unwrap_or_default();
        header.msg_iov = parts.as_mut_ptr();
        header.msg_iovlen = parts.len();
        let segment = (group.datagrams > 1).then(|| u16::try_from(group.size).unwrap_or(u16::MAX));
        let length = write_controls(control, segment, own);
        control.tell(header, length);
    }
}

impl Group {
    fn takes(&self, size: usize, together: bool) -> bool {
        together
            && !self.full
            && size <= self.size
            && size > 0
            && self.datagrams < SEGMENTS
            && self.bytes + size <= LARGEST
    }
}

const FLAGS: i32 = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;

/// Whom a message is for; of a connected socket, nobody else.
fn write_name(header: &mut libc::msghdr, name: Option<&(libc::sockaddr_storage, libc::socklen_t)>) {
    (header.msg_name, header.msg_namelen) = match name {
        Some((storage, length)) => (std::ptr::from_ref(storage).cast_mut().cast(), *length),
        None => (std::ptr::null_mut(), 0),
    };
}

/// What a control message tells.
enum Told {
    /// Bytes of each datagram of a message.
    Segment(usize),
    /// The address that it came to.
    Own(IpAddr),
}

fn read_controls(header: &libc::msghdr, mut hear: impl FnMut(Told)) {
    for_each_control(header, |level, kind, data| {
        // SAFETY: each kind of message has the structure that is read here.
        let told = unsafe {
            match (level, kind) {
                (libc::SOL_UDP, libc::UDP_GRO) => {
                    let size = data.cast::<i32>().read_unaligned();
                    Told::Segment(usize::try_from(size).unwrap_or(0))
                }
                (libc::IPPROTO_IP, libc::IP_PKTINFO) => {
                    let info = data.cast::<libc::in_pktinfo>().read_unaligned();
                    Told::Own(Ipv4Addr::from(info.ipi_addr.s_addr.to_ne_bytes()).into())
                }
                (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) => {
                    let info = data.cast::<libc::in6_pktinfo>().read_unaligned();
                    Told::Own(Ipv6Addr::from(info.ipi6_addr.s6_addr).into())
                }
                (_, _) => return None,
            }
        };
        hear(told);
        None::<()>
    });
}

/// Writes the segment size and the source address, where there is one; the length of both.
fn write_controls(control: &mut Control, segment: Option<u16>, own: Option<IpAddr>) -> usize {
    let mut length = 0;
    if let Some(segment) = segment {
        length += control.write(length, libc::SOL_UDP, libc::UDP_SEGMENT, segment);
    }
    match own {
        None => {}
        Some(IpAddr::V4(own)) => {
            let address = libc::in_addr { s_addr: u32::from_ne_bytes(own.octets()) };
            let info = libc::in_pktinfo {
                ipi_ifindex: 0,
                ipi_spec_dst: address,
                ipi_addr: libc::in_addr { s_addr: 0 },
            };
            length += control.write(length, libc::IPPROTO_IP, libc::IP_PKTINFO, info);
        }
        Some(IpAddr::V6(own)) => {
            let address = libc::in6_addr { s6_addr: own.octets() };
            let info = libc::in6_pktinfo { ipi6_addr: address, ipi6_ifindex: 0 };
            length += control.write(length, libc::IPPROTO_IPV6, libc::IPV6_PKTINFO, info);
        }
    }
    length
}

fn number(error: std::io::Error) -> Errno {
    Errno::from_io_error(&error).unwrap_or(Errno::INVAL)
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;

    use super::*;

    /// Where a path takes no super-datagrams, answers still come from the address that was asked.
    #[test]
    fn datagrams_by_themselves_keep_their_source() {
        let client = UdpSocket::bind("127.0.0.1:0").unwrap();
        let listener = OwnedFd::from(UdpSocket::bind("0.0.0.0:0").unwrap());
        let own = "127.0.0.9".parse().unwrap();
        let ends = Ends { client: client.local_addr().unwrap(), own: Some(own) };
        let mut outbox = Outbox::new();
        for datagram in [&b"one"[..], b"two", b"3"] {
            outbox.pack(&[], datagram, true);
        }
        let mut sent = Sent::default();
        let group = outbox.groups[0];
        outbox.one_by_one(group, Way { socket: &listener, to: Some(ends), head: &[] }, &mut sent);
        assert_eq!(sent, Sent { datagrams: 3, bytes: 7, ..Sent::default() });
        let mut room = [0; 8];
        for datagram in [&b"one"[..], b"two", b"3"] {
            let (length, from) = client.recv_from(&mut room).unwrap();
            assert_eq!((&room[..length], from.ip()), (datagram, own));
        }
    }
}
