//! Waiting for many sockets at once: epoll(7).

use std::os::fd::{AsFd, OwnedFd};

use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::io::Errno;

use super::slab::Id;

/// Events taken at once.
const BATCH: usize = 256;

/// What an event is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Token {
    /// The loops shall end.
    Stop,
    /// Something is in the loop's letter box.
    Letters,
    /// A listener has connections, or datagrams.
    Listener(Id),
    /// The client's side of a connection.
    Client(Id),
    /// The target's side, or an attempt to reach it, by its number.
    Target(Id, u8),
    /// A session's socket.
    Session(Id),
}

impl Token {
    fn pack(self) -> u64 {
        let (kind, attempt, id) = match self {
            Token::Stop => (0, 0, None),
            Token::Letters => (1, 0, None),
            Token::Listener(id) => (2, 0, Some(id)),
            Token::Client(id) => (3, 0, Some(id)),
            Token::Target(id, attempt) => (4, attempt, Some(id)),
            Token::Session(id) => (5, 0, Some(id)),
        };
        let (index, generation) = id.map_or((0, 0), |id: Id| (id.index, id.generation));
        kind << 56 | u64::from(attempt) << 48 | u64::from(generation) << 32 | u64::from(index)
    }

    fn unpack(packed: u64) -> Token {
        let [kind, attempt, high, low, index @ ..] = packed.to_be_bytes();
        let id = Id { index: u32::from_be_bytes(index), generation: u16::from_be_bytes([high, low]) };
        match kind {
            0 => Token::Stop,
            1 => Token::Letters,
            2 => Token::Listener(id),
            3 => Token::Client(id),
            4 => Token::Target(id, attempt),
            _ => Token::Session(id),
        }
    }
}

/// What has happened to a socket.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ready {
    pub(super) readable: bool,
    pub(super) writable: bool,
    /// The other side has closed its direction.
    pub(super) ending: bool,
    /// There is urgent data of TCP.
    pub(super) urgent: bool,
}

/// When to be told of a socket.
#[derive(Clone, Copy, Debug)]
pub(super) enum Interest {
    /// As long as something can be read; of several loops that wait, one is told.
    Shared,
    /// As long as something can be read, or there is an error.
    Readable,
    /// When something new can be read.
    Arrivals,
    /// The same, and when something can be written again.
    Everything,
}

impl Interest {
    fn flags(self) -> EventFlags {
        match self {
            Interest::Shared => EventFlags::IN | EventFlags::EXCLUSIVE,
            Interest::Readable => EventFlags::IN,
            Interest::Arrivals => ARRIVALS,
            Interest::Everything => ARRIVALS | EventFlags::OUT,
        }
    }
}

const ARRIVALS: EventFlags =
    EventFlags::IN.union(EventFlags::PRI).union(EventFlags::RDHUP).union(EventFlags::ET);

/// An epoll of one loop.
pub(super) struct Poller {
    epoll: OwnedFd,
    events: Vec<Event>,
}

impl Poller {
    /// The descriptor that one is made of, by whoever can still say that there is none.
    pub(super) fn descriptor() -> Result<OwnedFd, Errno> {
        epoll::create(CreateFlags::CLOEXEC)
    }

    pub(super) fn new(epoll: OwnedFd) -> Poller {
        Poller { epoll, events: Vec::with_capacity(BATCH) }
    }

    pub(super) fn add(&self, fd: impl AsFd, token: Token, interest: Interest) -> Result<(), Errno> {
        epoll::add(&self.epoll, fd, EventData::new_u64(token.pack()), interest.flags())
    }

    pub(super) fn change(&self, fd: impl AsFd, token: Token, interest: Interest) -> Result<(), Errno> {
        epoll::modify(&self.epoll, fd, EventData::new_u64(token.pack()), interest.flags())
    }

    pub(super) fn remove(&self, fd: impl AsFd) {
        // One that was not there needs no removing.
        let _ = epoll::delete(&self.epoll, fd);
    }

    /// Waits for events, for so many milliseconds at most where a number is given.
    pub(super) fn wait(
        &mut self,
        milliseconds: Option<u64>,
        into: &mut Vec<(Token, Ready)>,
    ) -> Result<(), Errno> {
        let timeout = milliseconds.map(|milliseconds| Timespec {
            tv_sec: (milliseconds / 1000).cast_signed(),
            tv_nsec: (milliseconds % 1000 * 1_000_000).cast_signed(),
        });
        self.events.clear();
        match epoll::wait(&self.epoll, rustix::buffer::spare_capacity(&mut self.events), timeout.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
        into.extend(self.events.iter().map(|event| {
            let (flags, data) = (event.flags, event.data);
            let over = flags.intersects(EventFlags::ERR | EventFlags::HUP);
            let ready = Ready {
                readable: over || flags.intersects(EventFlags::IN | EventFlags::RDHUP),
                writable: over || flags.contains(EventFlags::OUT),
                ending: over || flags.contains(EventFlags::RDHUP),
                urgent: flags.contains(EventFlags::PRI),
            };
            (Token::unpack(data.u64()), ready)
        }));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_come_back_as_they_went() {
        let id = Id { index: 0x0102_0304, generation: 0xfffe };
        for token in [
            Token::Stop,
            Token::Letters,
            Token::Listener(id),
            Token::Client(id),
            Token::Target(id, 255),
            Token::Session(id),
        ] {
            assert_eq!(Token::unpack(token.pack()), token);
        }
    }
}
