//! Batches of packets in one system call: `sendmmsg(2)`, `recvmmsg(2)`, the error queue, `writev(2)`.

use std::io;
use std::net::IpAddr;
use std::os::fd::{AsRawFd, BorrowedFd};

use straddle_encap::errors::OuterError;

use crate::raw::{Name, address_of};

/// Packets in one batch.
pub(crate) const BATCH: usize = 64;
/// Room for one received packet, in bytes: the largest that there is.
const ROOM: usize = 65_536;
/// Room for the control messages that we send or ask for.
const CONTROL: usize = 128;

/// Control messages, aligned as the kernel's headers want it.
#[derive(Clone, Copy)]
#[repr(C, align(8))]
pub(crate) struct Control([u8; CONTROL]);

impl Control {
    pub(crate) const EMPTY: Control = Control([0; CONTROL]);

    /// Writes a message behind those that take `at` bytes. Returns the bytes that it takes.
    pub(crate) fn write<T: Copy>(&mut self, at: usize, level: i32, kind: i32, value: T) -> usize {
        let size = u32::try_from(size_of::<T>()).unwrap_or(0);
        // SAFETY: CMSG_SPACE and CMSG_LEN are arithmetic; the buffer is aligned, `at` is a sum of CMSG_SPACEs, and the
        // most that is ever written (a segment size and an `in6_pktinfo`) takes 64 of its 128 bytes.
        unsafe {
            let header = self.0.as_mut_ptr().add(at).cast::<libc::cmsghdr>();
            (*header).cmsg_level = level;
            (*header).cmsg_type = kind;
            (*header).cmsg_len = libc::CMSG_LEN(size) as usize;
            libc::CMSG_DATA(header).cast::<T>().write_unaligned(value);
            libc::CMSG_SPACE(size) as usize
        }
    }

    /// Tells a message of its first `length` bytes.
    pub(crate) fn tell(&mut self, header: &mut libc::msghdr, length: usize) {
        header.msg_controllen = length;
        header.msg_control = if length == 0 { std::ptr::null_mut() } else { self.0.as_mut_ptr().cast() };
    }
}

/// Sends messages, in order; how many the kernel took.
///
/// # Safety
/// What the messages point to is there until this returns.
pub(crate) unsafe fn send(
    socket: BorrowedFd<'_>,
    messages: &mut [libc::mmsghdr],
    flags: i32,
) -> io::Result<usize> {
    let length = u32::try_from(messages.len()).unwrap_or(0);
    // SAFETY: as the caller has promised.
    let sent = unsafe { libc::sendmmsg(socket.as_raw_fd(), messages.as_mut_ptr(), length, flags) };
    usize::try_from(sent).map_err(|_| io::Error::last_os_error())
}

/// An outgoing packet: whom it is for, its parts in order, and the outer traffic class.
pub(crate) struct Parcel<'a> {
    /// Whom it is for.
    pub(crate) to: Option<&'a Name>,
    pub(crate) parts: [&'a [u8]; 3],
    pub(crate) class: u8,
}

/// Sends batches; made once, so that nothing is allocated per packet.
pub(crate) struct Outbox {
    messages: Vec<libc::mmsghdr>,
    vectors: Vec<[libc::iovec; 3]>,
    controls: Vec<Control>,
    level: i32,
    kind: i32,
}

// SAFETY: the pointers inside are written anew before every use and mean nothing between.
unsafe impl Send for Outbox {}

impl Outbox {
    /// For outer packets of IPv6, or else IPv4.
    pub(crate) fn new(v6: bool) -> Outbox {
        let (level, kind) =
            if v6 { (libc::IPPROTO_IPV6, libc::IPV6_TCLASS) } else { (libc::IPPROTO_IP, libc::IP_TOS) };
        Outbox {
            messages: vec![blank(); BATCH],
            vectors: vec![[EMPTY; 3]; BATCH],
            controls: vec![Control::EMPTY; BATCH],
            level,
            kind,
        }
    }

    /// Sends `count` parcels, in order. `refused` hears the index and error of each that
    /// the kernel did not take.
    pub(crate) fn send<'a>(
        &mut self,
        socket: BorrowedFd<'_>,
        count: usize,
        parcel: impl Fn(usize) -> Parcel<'a>,
        mut refused: impl FnMut(usize, io::Error),
    ) {
        let count = count.min(BATCH);
        for index in 0..count {
            self.pack(index, &parcel(index));
        }
        let mut next = 0;
        while next < count {
            let Some(rest) = self.messages.get_mut(next..count) else { return };
            // SAFETY: every message in `rest` was packed above; what it points to lives in `self` and in what
            // the parcels borrow, all of which outlive this call.
            match unsafe { self::send(socket, rest, 0) } {
                // Of a batch that is not empty, one at least is taken.
                Ok(sent) => next += sent,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    refused(next, error);
                    next += 1;
                }
            }
        }
    }

    fn pack(&mut self, index: usize, parcel: &Parcel<'_>) {
        let (Some(message), Some(vectors), Some(control)) =
            (self.messages.get_mut(index), self.vectors.get_mut(index), self.controls.get_mut(index))
        else {
            return;
        };
        for (vector, part) in vectors.iter_mut().zip(parcel.parts) {
            *vector = libc::iovec { iov_base: part.as_ptr().cast_mut().cast(), iov_len: part.len() };
        }
        let header = &mut message.msg_hdr;
        header.msg_name =
            parcel.to.map_or(std::ptr::null_mut(), |to| (&raw const to.storage).cast_mut().cast());
        header.msg_namelen = parcel.to.map_or(0, |to| to.length);
        header.msg_iov = vectors.as_mut_ptr();
        header.msg_iovlen = vectors.len();
        let length = match parcel.class {
            0 => 0,
            class => control.write(0, self.level, self.kind, i32::from(class)),
        };
        control.tell(header, length);
    }
}

/// Receives batches; made once.
pub(crate) struct Inbox {
    messages: Vec<libc::mmsghdr>,
    vectors: Vec<libc::iovec>,
    names: Vec<libc::sockaddr_storage>,
    controls: Vec<Control>,
    room: Vec<u8>,
}

// SAFETY: the pointers inside are written anew before every use and mean nothing between.
unsafe impl Send for Inbox {}

/// A received packet.
pub(crate) struct Received<'a> {
    pub(crate) from: Option<IpAddr>,
    /// Outer traffic class, where the kernel told it.
    pub(crate) class: u8,
    pub(crate) bytes: &'a mut [u8],
}

impl Inbox {
    pub(crate) fn new() -> Inbox {
        Inbox {
            messages: vec![blank(); BATCH],
            vectors: vec![EMPTY; BATCH],
            // SAFETY: all zeroes is a value of this plain C structure.
            names: vec![unsafe { std::mem::zeroed() }; BATCH],
            controls: vec![Control::EMPTY; BATCH],
            room: vec![0; BATCH * ROOM],
        }
    }

    /// Takes what is there, without waiting; 0 when nothing is.
    pub(crate) fn receive(&mut self, socket: BorrowedFd<'_>) -> io::Result<usize> {
        for index in 0..BATCH {
            self.prepare(index);
        }
        let length = u32::try_from(BATCH).unwrap_or(0);
        // SAFETY: every message was prepared above; what it points to lives in `self`.
        let got = unsafe {
            libc::recvmmsg(
                socket.as_raw_fd(),
                self.messages.as_mut_ptr(),
                length,
                libc::MSG_DONTWAIT,
                std::ptr::null_mut(),
            )
        };
        usize::try_from(got).map_err(|_| io::Error::last_os_error())
    }

    /// The message at the head of the socket's error queue: the error, the peer it is about, and how
    /// many bytes of our packet it quotes (as its packet 0).
    pub(crate) fn error(
        &mut self,
        socket: BorrowedFd<'_>,
    ) -> io::Result<Option<(OuterError, Option<IpAddr>)>> {
        self.prepare(0);
        let Some(message) = self.messages.first_mut() else { return Ok(None) };
        // SAFETY: the message was prepared above; what it points to lives in `self`.
        let got = unsafe {
            libc::recvmsg(
                socket.as_raw_fd(),
                &raw mut message.msg_hdr,
                libc::MSG_ERRQUEUE | libc::MSG_DONTWAIT,
            )
        };
        let got = u32::try_from(got).map_err(|_| io::Error::last_os_error())?;
        message.msg_len = got;
        let peer = self.names.first().and_then(address_of);
        Ok(read_error(&message.msg_hdr).map(|error| (error, peer)))
    }

    /// Packet `index` of those that the last call received.
    pub(crate) fn packet(&mut self, index: usize) -> Option<Received<'_>> {
        let message = self.messages.get(index)?;
        let start = index * ROOM;
        let bytes = self.room.get_mut(start..start + message.msg_len as usize)?;
        let class = read_class(&message.msg_hdr);
        Some(Received { from: self.names.get(index).and_then(address_of), class, bytes })
    }

    /// Message `index` of those that the last call received: its header, where it came from, and its bytes.
    pub(crate) fn message(&self, index: usize) -> Option<(&libc::msghdr, &libc::sockaddr_storage, &[u8])> {
        let message = self.messages.get(index)?;
        let bytes = self.room.get(index * ROOM..index * ROOM + message.msg_len as usize)?;
        Some((&message.msg_hdr, self.names.get(index)?, bytes))
    }

    /// A part of packet `index`, to be read only.
    pub(crate) fn part(&self, index: usize, range: std::ops::Range<usize>) -> &[u8] {
        self.room.get(index * ROOM + range.start..index * ROOM + range.end).unwrap_or(&[])
    }

    fn prepare(&mut self, index: usize) {
        let (Some(message), Some(vector), Some(name), Some(control), Some(room)) = (
            self.messages.get_mut(index),
            self.vectors.get_mut(index),
            self.names.get_mut(index),
            self.controls.get_mut(index),
            self.room.get_mut(index * ROOM..(index + 1) * ROOM),
        ) else {
            return;
        };
        *vector = libc::iovec { iov_base: room.as_mut_ptr().cast(), iov_len: room.len() };
        let header = &mut message.msg_hdr;
        header.msg_name = std::ptr::from_mut(name).cast();
        header.msg_namelen = libc::socklen_t::try_from(size_of::<libc::sockaddr_storage>()).unwrap_or(0);
        header.msg_iov = vector;
        header.msg_iovlen = 1;
        header.msg_control = control.0.as_mut_ptr().cast();
        header.msg_controllen = CONTROL;
        header.msg_flags = 0;
        message.msg_len = 0;
    }
}

/// The outer traffic class of a received packet (`IPV6_TCLASS`); 0 where none was told.
fn read_class(header: &libc::msghdr) -> u8 {
    for_each_control(header, |level, kind, data| {
        let found = level == libc::IPPROTO_IPV6 && kind == libc::IPV6_TCLASS;
        // SAFETY: the kernel wrote one int.
        found.then(|| unsafe { data.cast::<i32>().read_unaligned() } as u8)
    })
    .unwrap_or(0)
}

/// The ICMP error in the control messages of an error queue's message (`linux/errqueue.h`). An error
/// of our own host that says that a packet is too large for the path reads like the router's.
fn read_error(header: &libc::msghdr) -> Option<OuterError> {
    for_each_control(header, |level, kind, data| {
        let v6 = level == libc::IPPROTO_IPV6 && kind == libc::IPV6_RECVERR;
        let v4 = level == libc::IPPROTO_IP && kind == libc::IP_RECVERR;
        if !v6 && !v4 {
            return None;
        }
        // SAFETY: the kernel wrote one `sock_extended_err`.
        let error = unsafe { data.cast::<libc::sock_extended_err>().read_unaligned() };
        let local = error.ee_origin == libc::SO_EE_ORIGIN_LOCAL;
        if local && error.ee_errno.cast_signed() != libc::EMSGSIZE {
            return None;
        }
        let (kind, code, info) = (error.ee_type, error.ee_code, error.ee_info);
        Some(match (v6, local) {
            (true, true) => OuterError::V6 { kind: 2, code: 0, info },
            (true, false) => OuterError::V6 { kind, code, info },
            (false, true) => OuterError::V4 { kind: 3, code: 4, info },
            (false, false) => OuterError::V4 { kind, code, info },
        })
    })
}

/// Shows a message's control messages until one is what was looked for.
pub(crate) fn for_each_control<T>(
    header: &libc::msghdr,
    mut look: impl FnMut(i32, i32, *const u8) -> Option<T>,
) -> Option<T> {
    // SAFETY: the kernel filled the control buffer and its length, which CMSG_* walk within.
    unsafe {
        let mut control = libc::CMSG_FIRSTHDR(header);
        while let Some(found) = control.as_ref() {
            if let Some(value) = look(found.cmsg_level, found.cmsg_type, libc::CMSG_DATA(control)) {
                return Some(value);
            }
            control = libc::CMSG_NXTHDR(header, control);
        }
    }
    None
}

pub(crate) const EMPTY: libc::iovec = libc::iovec { iov_base: std::ptr::null_mut(), iov_len: 0 };

pub(crate) fn blank() -> libc::mmsghdr {
    // SAFETY: all zeroes is a value of this plain C structure.
    unsafe { std::mem::zeroed() }
}
