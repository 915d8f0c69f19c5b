//! One direction of a connection.
//!
//! What comes in small pieces is read and written: two system calls. Once a piece fills the room, bytes move
//! by splice(2) through a pipe, and are not copied. A flow has a pipe only while there is something in it.

use std::os::fd::AsFd;

use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, Shutdown, recv, send, shutdown};
use rustix::pipe::{SpliceFlags, splice};

use super::budget::Budget;
use super::pipes::{Pipe, Pool};
use super::queues;

/// A piece this large is the first of many.
const LARGE: usize = 16 * 1024;
/// Bytes that a flow may move before it is the others' turn.
const TURN: usize = 4 << 20;
/// Bytes that are moved into a pipe at once. More of them leave the processor's cache before the other end reads
/// them: then four flows are a quarter slower.
const PIECE: usize = 256 * 1024;

/// Which side of a flow something went wrong at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Source,
    Sink,
    /// No pipe could be had.
    Own,
}

/// How a flow stands after it was moved along.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stands {
    /// It waits for its source or its sink.
    Waits,
    /// It could move more, but had its turn.
    Again,
    /// All has been handed over, and the sink was told that it is all.
    Done,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Source {
    Open,
    Ended,
    Told,
}

/// One direction. Readiness is edge-triggered: it holds until a call says otherwise.
#[derive(Debug)]
pub(super) struct Flow {
    pipe: Option<Pipe>,
    held: usize,
    source: Source,
    bulk: bool,
    /// TCP's urgent data has come, at which splice(2) stands still: from here on, bytes are copied.
    pub(super) urgent: bool,
    /// Its sockets' queues have their limits.
    limited: bool,
    pub(super) readable: bool,
    pub(super) writable: bool,
    /// The source's end is behind what can be read now.
    pub(super) ending: bool,
}

/// What all flows of a loop share.
#[derive(Debug)]
pub(super) struct Means {
    pub(super) pipes: Pool,
    pub(super) room: Box<[u8]>,
}

impl Means {
    pub(super) fn new(budget: Budget) -> Means {
        Means { pipes: Pool::new(budget), room: vec![0; ROOM].into() }
    }
}

const ROOM: usize = 64 * 1024;

impl Flow {
    pub(super) fn new() -> Flow {
        Flow {
            pipe: None,
            held: 0,
            source: Source::Open,
            bulk: false,
            urgent: false,
            limited: false,
            readable: false,
            writable: true,
            ending: false,
        }
    }

    /// Whether the sink was told that nothing more comes.
    pub(super) fn is_done(&self) -> bool {
        self.source == Source::Told
    }

    /// Whether it waits for its sink.
    pub(super) fn is_blocked(&self) -> bool {
        !self.writable && !self.is_done()
    }

    /// Moves what can be moved. Returns the bytes that the sink took, and how the flow stands.
    pub(super) fn pump(
        &mut self,
        source: impl AsFd,
        sink: impl AsFd,
        means: &mut Means,
    ) -> (usize, Result<Stands, (Side, Errno)>) {
        let mut moved = 0;
        let stands = loop {
            if moved >= TURN {
                break Ok(Stands::Again);
            }
            match self.step(&source, &sink, means, &mut moved) {
                Ok(None) => {}
                Ok(Some(stands)) => break Ok(stands),
                Err(trouble) => break Err(trouble),
            }
        };
        if self.held == 0
            && let Some(pipe) = self.pipe.take()
        {
            means.pipes.give(pipe);
        }
        (moved, stands)
    }

    fn step(
        &mut self,
        source: &impl AsFd,
        sink: &impl AsFd,
        means: &mut Means,
        moved: &mut usize,
    ) -> Result<Option<Stands>, (Side, Errno)> {
        if self.held > 0 {
            if !self.writable {
                return Ok(Some(Stands::Waits));
            }
            *moved += self.empty(sink)?;
        } else if self.source == Source::Told {
            return Ok(Some(Stands::Done));
        } else if self.source == Source::Ended {
            // A sink that is gone by now shows by its own flow.
            let _ = shutdown(sink, Shutdown::Write);
            self.source = Source::Told;
        } else if !self.readable || !self.writable {
            return Ok(Some(Stands::Waits));
        } else if self.bulk && !self.urgent {
            if !self.limited {
                queues::limit(source, sink);
                self.limited = true;
            }
            self.fill(source, means, *moved)?;
        } else {
            *moved += self.copy(source, sink, means)?;
        }
        Ok(None)
    }

    /// From the pipe to the sink.
    fn empty(&mut self, sink: &impl AsFd) -> Result<usize, (Side, Errno)> {
        let Some(pipe) = &self.pipe else { return Ok(0) };
        match splice(&pipe.reader, None, sink, None, self.held, MOVE) {
            Ok(count) => {
                self.held -= count;
                Ok(count)
            }
            Err(Errno::AGAIN) => {
                self.writable = false;
                Ok(0)
            }
            Err(Errno::INTR) => Ok(0),
            Err(errno) => Err((Side::Sink, errno)),
        }
    }

    /// From the source into a pipe. Where little comes at a time, copying is cheaper.
    fn fill(&mut self, source: &impl AsFd, means: &mut Means, moved: usize) -> Result<(), (Side, Errno)> {
        let Some(pipe) = self.pipe.take().or_else(|| means.pipes.take().ok()) else {
            // Without a pipe there is copying.
            self.bulk = false;
            return Ok(());
        };
        let pipe = self.pipe.insert(pipe);
        match splice(source, None, &pipe.writer, None, PIECE, MOVE) {
            // The end, or urgent data that was not told of yet: copying finds out.
            Ok(0) => self.bulk = false,
            Ok(count) => self.held = count,
            Err(Errno::AGAIN) => {
                self.readable = false;
                self.bulk = moved >= LARGE;
            }
            Err(Errno::INTR) => {}
            Err(errno) => return Err((Side::Source, errno)),
        }
        Ok(())
    }

    /// From the source to the sink. What the sink does not take waits in a pipe.
    fn copy(
        &mut self,
        source: &impl AsFd,
        sink: &impl AsFd,
        means: &mut Means,
    ) -> Result<usize, (Side, Errno)> {
        let count = match recv(source, &mut *means.room, RecvFlags::DONTWAIT) {
            Ok((_, 0)) => {
                self.source = Source::Ended;
                return Ok(0);
            }
            Ok((_, count)) => count,
            Err(Errno::AGAIN) => {
                self.readable = false;
                return Ok(0);
            }
            Err(Errno::INTR) => return Ok(0),
            Err(errno) => return Err((Side::Source, errno)),
        };
        self.bulk = count >= LARGE;
        // A short read has emptied the socket, or ends where urgent data begins: what comes later is told.
        self.readable = count == means.room.len() || self.ending || self.bulk || self.urgent;
        let piece = means.room.get(..count).unwrap_or_default();
        let taken = match send(sink, piece, SendFlags::DONTWAIT | SendFlags::NOSIGNAL) {
            Ok(taken) => taken,
            Err(Errno::AGAIN | Errno::INTR) => 0,
            Err(errno) => return Err((Side::Sink, errno)),
        };
        let rest = piece.get(taken..).unwrap_or_default();
        if !rest.is_empty() {
            let pipe = match self.pipe.take() {
                Some(pipe) => pipe,
                None => means.pipes.take().map_err(|errno| (Side::Own, errno))?,
            };
            // An empty pipe takes 64 KB in the worst case, and that is all the room there is.
            self.held = rustix::io::write(&pipe.writer, rest).map_err(|errno| (Side::Own, errno))?;
            self.pipe = Some(pipe);
            if self.held < rest.len() {
                return Err((Side::Own, Errno::NOBUFS));
            }
        }
        Ok(taken)
    }
}

const MOVE: SpliceFlags = SpliceFlags::MOVE.union(SpliceFlags::NONBLOCK);
