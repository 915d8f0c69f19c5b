//! One connection: a request, an answer, an end.

use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::{IpAddr, Shutdown, TcpStream};
use std::os::fd::{AsFd as _, BorrowedFd};
use std::time::{Duration, Instant};

use rustix::event::PollFlags;
use rustls::ServerConnection;

use super::Reason;
use super::request::{LONGEST, Request, parse};

/// How long a client has for its request, handshake included.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long it has to take the answer and to close.
const FAREWELL: Duration = Duration::from_secs(3);
/// Bytes that are read at once.
const ROOM: usize = 4096;
/// Reads of what comes behind a request before others have their turn.
const READS: usize = 16;

/// A client's connection, without waiting.
pub(super) struct Connection {
    stream: TcpStream,
    tls: Option<Box<ServerConnection>>,
    peer: IpAddr,
    until: Instant,
    stage: Stage,
}

enum Stage {
    /// This much of the request has come.
    Asking(Vec<u8>),
    /// This is to be sent, unless TLS has it.
    Answering(Vec<u8>),
    /// All is sent. Closed with something unread, a connection is reset, and the answer lost.
    Leaving,
}

/// Why a connection is over; none where it was answered.
pub(super) type End = Option<Reason>;

impl Connection {
    /// Takes over one that does not block.
    pub(super) fn new(
        stream: TcpStream,
        tls: Option<ServerConnection>,
        peer: IpAddr,
        now: Instant,
    ) -> Connection {
        let stage = Stage::Asking(Vec::new());
        Connection { stream, tls: tls.map(Box::new), peer, until: now + PATIENCE, stage }
    }

    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }

    /// Who is at the other end.
    pub(super) fn peer(&self) -> IpAddr {
        self.peer
    }

    /// When it is over at the latest.
    pub(super) fn until(&self) -> Instant {
        self.until
    }

    /// What is waited for.
    pub(super) fn wants(&self) -> PollFlags {
        let handshakes = self.tls.as_ref().is_some_and(|tls| tls.wants_write());
        match self.stage {
            Stage::Answering(_) => PollFlags::OUT,
            Stage::Asking(_) if handshakes => PollFlags::IN | PollFlags::OUT,
            Stage::Asking(_) | Stage::Leaving => PollFlags::IN,
        }
    }

    /// The time is over.
    pub(super) fn expired(&self) -> End {
        match self.stage {
            Stage::Asking(_) => Some(Reason::TimedOut),
            Stage::Answering(_) | Stage::Leaving => None,
        }
    }

    /// Does what can be done without waiting. `hear` makes the answer of a request.
    ///
    /// # Errors
    /// It is over.
    pub(super) fn go_on(
        &mut self,
        now: Instant,
        hear: impl FnOnce(Result<Request, Reason>) -> String,
    ) -> Result<(), End> {
        if let Stage::Asking(_) = self.stage {
            let Some(came) = self.ask()? else { return Ok(()) };
            self.answer(hear(came).into_bytes());
            self.until = now + FAREWELL;
        }
        if let Stage::Answering(_) = self.stage {
            if !self.send().map_err(|_| None)? {
                return Ok(());
            }
            self.stream.shutdown(Shutdown::Write).map_err(|_| None)?;
            self.stage = Stage::Leaving;
        }
        self.read_off()
    }

    /// Reads what nobody wants to know, though not all at once: others wait too.
    fn read_off(&mut self) -> Result<(), End> {
        let mut room = [0; ROOM];
        for _ in 0..READS {
            match self.stream.read(&mut room) {
                Ok(0) => return Err(None),
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return Err(None),
            }
        }
        Ok(())
    }

    /// Reads on; what came, once that is known.
    fn ask(&mut self) -> Result<Option<Result<Request, Reason>>, End> {
        let Connection { stream, tls, stage, .. } = self;
        let Stage::Asking(came) = stage else { return Ok(None) };
        let mut room = [0; ROOM];
        loop {
            let read = match tls {
                Some(tls) => read_tls(stream, tls, &mut room)?,
                None => stream.read(&mut room),
            };
            match read {
                Ok(0) => return Err(Some(Reason::CutShort)),
                Ok(length) => came.extend(room.get(..length).unwrap_or_default()),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(None),
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(_) => return Err(Some(Reason::CutShort)),
            }
            if let Some(known) = parse(came).transpose() {
                return Ok(Some(known));
            }
            debug_assert!(came.len() < LONGEST);
        }
    }

    fn answer(&mut self, text: Vec<u8>) {
        self.stage = Stage::Answering(match &mut self.tls {
            Some(tls) => {
                // Its buffer has room for a multiple of this.
                let _ = tls.writer().write_all(&text);
                tls.send_close_notify();
                Vec::new()
            }
            None => text,
        });
    }

    /// Whether all is sent.
    fn send(&mut self) -> io::Result<bool> {
        let Connection { stream, tls, stage, .. } = self;
        if let Some(tls) = tls {
            return flush(stream, tls);
        }
        let Stage::Answering(rest) = stage else { return Ok(true) };
        while !rest.is_empty() {
            match stream.write(rest) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(length) => drop(rest.drain(..length)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }
}

/// What the client has sent within TLS; the handshake before it goes on meanwhile.
fn read_tls(
    stream: &mut TcpStream,
    tls: &mut ServerConnection,
    room: &mut [u8],
) -> Result<io::Result<usize>, End> {
    loop {
        if flush(stream, tls).is_err() {
            return Err(Some(Reason::Handshake));
        }
        match tls.reader().read(room) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            read => return Ok(read),
        }
        match tls.read_tls(stream) {
            Ok(0) if tls.is_handshaking() => return Err(Some(Reason::Handshake)),
            Ok(_) => {}
            Err(error) => return Ok(Err(error)),
        }
        if tls.process_new_packets().is_err() {
            // The client is told why, if it can be.
            let _ = flush(stream, tls);
            return Err(Some(Reason::Handshake));
        }
    }
}

/// Sends what TLS has to send; whether that was all.
fn flush(stream: &mut TcpStream, tls: &mut ServerConnection) -> io::Result<bool> {
    while tls.wants_write() {
        match tls.write_tls(stream) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(true)
}
