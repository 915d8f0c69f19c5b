//! The loop of one device.

use std::collections::BTreeSet;
use std::io;
use std::net::Ipv6Addr;
use std::os::fd::BorrowedFd;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags};
use straddle_wire::ndp::solicited_node;

use super::answer::{Manner, Own, question};
use super::groups::Groups;
use super::socket::{Heard, Socket};
use super::tally::{Report, Tally};
use super::{Reason, Table};
use crate::Error;
use crate::bucket::Bucket;
use crate::limit::Limit;
use crate::loops::Loops;
use crate::stop::Stop;
use crate::wait::wait;

/// Answers at once and in a second, to one neighbour: a gateway that was restarted asks for thousands of addresses,
/// three times in a second each.
const ONE: (f64, f64) = (4000.0, 1000.0);
/// The same to all of them.
const ALL: (f64, f64) = (8000.0, 2000.0);
/// Solicitations that are taken before the end, and the table, are looked at again.
const BATCH: usize = 64;
/// How often a device that went down is looked for: with it may go what it could be told by.
const LOOK: Duration = Duration::from_millis(250);
/// Room for a solicitation with any options; what is longer than an Ethernet frame is none.
const ROOM: usize = 1500;

/// Answers neighbour solicitations on one device; ends when it is dropped.
pub struct Responder {
    device: String,
    shared: Arc<Shared>,
    groups: Mutex<Groups>,
    loops: Loops,
}

struct Shared {
    table: Mutex<Arc<Table>>,
    tally: Tally,
}

impl Responder {
    /// Begins on a device, which may be down yet.
    ///
    /// # Errors
    /// There is no such device, its links have no addresses of six bytes, or the right to packet sockets is missing.
    pub fn begin(device: &str, manner: Manner, table: Table) -> Result<Responder, Error> {
        let socket = Socket::open(device)?;
        let groups = Mutex::new(Groups::new(socket.index()));
        let shared = Arc::new(Shared { table: Mutex::default(), tally: Tally::new() });
        let limit = Limit::new(Bucket::new(ONE.0, ONE.1), Bucket::new(ALL.0, ALL.1));
        let mut listener = Listener { shared: shared.clone(), socket, manner, limit, down: false };
        let mut responder =
            Responder { device: device.into(), shared, groups, loops: Loops::new("neighbours")? };
        responder.assign(table)?;
        responder.loops.begin(move |stop| listener.run(stop))?;
        Ok(responder)
    }

    /// From now on solicitations of these addresses are answered, and of no others.
    ///
    /// # Errors
    /// The kernel refuses a socket for groups; the addresses count all the same.
    pub fn assign(&self, table: Table) -> Result<(), Error> {
        let groups: BTreeSet<Ipv6Addr> = table.singles().map(solicited_node).collect();
        *self.shared.table.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(table);
        self.groups.lock().unwrap_or_else(PoisonError::into_inner).follow(&groups)
    }

    /// Can be read from once it has ended by itself, as when the device is gone or has another name.
    #[must_use]
    pub fn ended(&self) -> BorrowedFd<'_> {
        self.loops.ended()
    }

    /// What was heard.
    #[must_use]
    pub fn report(&self) -> Report {
        let groups = self.groups.lock().unwrap_or_else(PoisonError::into_inner);
        Report {
            device: self.device.clone(),
            solicitations: self.shared.tally.counts(),
            groups: groups.joined(),
            groups_refused: groups.refused(),
        }
    }
}

/// What the thread has.
struct Listener {
    shared: Arc<Shared>,
    socket: Socket,
    manner: Manner,
    limit: Limit,
    /// The device went down, and nothing was heard since.
    down: bool,
}

impl Listener {
    fn run(&mut self, stop: &Stop) -> Result<(), Error> {
        let mut room = [0; ROOM];
        loop {
            let fds = [stop.fd(), self.socket.fd()];
            let mut fds = fds.map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN));
            wait(&mut fds, self.down.then(|| Instant::now() + LOOK))?;
            let [stopped, ready] = fds.map(|fd| !fd.revents().is_empty());
            if stopped {
                return Ok(());
            }
            if ready {
                self.take(&mut room)?;
            }
            if self.down && !self.socket.is_there() {
                return Err(Error::call("the uplink is gone")(io::Error::from_raw_os_error(libc::ENODEV)));
            }
        }
    }

    /// Takes what has arrived, a batch at most.
    fn take(&mut self, room: &mut [u8; ROOM]) -> Result<(), Error> {
        let table = self.shared.table.lock().unwrap_or_else(PoisonError::into_inner).clone();
        // Addresses may change at any time; within a batch they don't.
        let mut own = None;
        let now = Instant::now();
        for _ in 0..BATCH {
            match self.socket.receive(room) {
                Ok(heard) => {
                    self.down = false;
                    let packet = room.get(..heard.length).unwrap_or_default();
                    let reason = self.hear(packet, &heard, &table, &mut own, now);
                    self.shared.tally.ended(reason.err().unwrap_or(Reason::Answered));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // The socket hears again by itself when the device is up.
                Err(error) if error.raw_os_error() == Some(libc::ENETDOWN) => self.down = true,
                Err(error) => return Err(Error::call("receiving neighbour solicitations")(error)),
            }
        }
        Ok(())
    }

    fn hear(
        &mut self,
        packet: &[u8],
        heard: &Heard,
        table: &Table,
        own: &mut Option<Own>,
        now: Instant,
    ) -> Result<(), Reason> {
        if !heard.for_us {
            return Err(Reason::NotForUs);
        }
        let question = question(packet, heard.from, table)?;
        if !self.limit.allows(question.from, now) {
            return Err(Reason::RateLimited);
        }
        let own = match own {
            Some(own) => own,
            None => own.insert(self.socket.own().map_err(|_| Reason::NoSource)?),
        };
        let answer = question.answer(own, &self.manner)?;
        self.socket.send(&answer).map_err(|_| Reason::NotSent)
    }
}
