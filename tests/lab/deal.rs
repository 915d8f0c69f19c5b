//! What the two ends of a connection do with each other, byte by byte.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::fd::AsFd;
use std::thread;
use std::time::Duration;

use rustix::net::sockopt::{set_socket_linger, set_socket_recv_buffer_size};

const LIMIT: Duration = Duration::from_secs(20);

/// What one connection does. It is told to the server in the first bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Deal {
    seed: u32,
    pub(super) up: u32,
    pub(super) down: u32,
    pub(super) manner: Manner,
}

/// How a connection ends, or goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(super) enum Manner {
    /// Both send at once.
    Together,
    /// The server answers once the client has closed its direction.
    HalfClose,
    /// The server closes its direction first, and goes on reading.
    ServerHalfClose,
    /// Both have room for a few packets only.
    Slow,
    /// The client resets after what it has sent.
    ClientResets,
    /// The server does.
    ServerResets,
}

const MANNERS: [Manner; 6] = [
    Manner::Together,
    Manner::HalfClose,
    Manner::ServerHalfClose,
    Manner::Slow,
    Manner::ClientResets,
    Manner::ServerResets,
];

impl Deal {
    pub(super) fn new(number: u32) -> Deal {
        let mut random = Random(number.wrapping_mul(2_654_435_761) | 1);
        // Small ones, and such as fill every buffer on the way.
        let mut size =
            || if random.next().is_multiple_of(4) { random.next() % 600_000 } else { random.next() % 20_000 };
        let (up, down) = (size(), size());
        Deal { seed: number, up, down, manner: MANNERS[number as usize % MANNERS.len()] }
    }

    fn bytes(self) -> [u8; 16] {
        let mut bytes = [0; 16];
        for (place, number) in bytes.chunks_mut(4).zip([self.seed, self.up, self.down, self.manner as u32]) {
            place.copy_from_slice(&number.to_be_bytes());
        }
        bytes
    }

    fn read(stream: &mut TcpStream) -> Deal {
        let mut bytes = [0; 16];
        stream.read_exact(&mut bytes).unwrap();
        let number = |index: usize| u32::from_be_bytes(bytes[index * 4..index * 4 + 4].try_into().unwrap());
        Deal { seed: number(0), up: number(1), down: number(2), manner: MANNERS[number(3) as usize] }
    }

    pub(super) fn client(self, mut stream: TcpStream) {
        set_room(&stream, self.manner);
        stream.write_all(&self.bytes()).unwrap();
        let both = |stream: &TcpStream| {
            thread::scope(|scope| {
                scope.spawn(|| sent(stream, self.seed, self.up));
                arrived(stream, !self.seed, self.down);
            });
        };
        match self.manner {
            Manner::Together | Manner::Slow => {
                both(&stream);
                ended(&mut stream);
            }
            Manner::HalfClose => {
                sent(&stream, self.seed, self.up);
                stream.shutdown(Shutdown::Write).unwrap();
                arrived(&stream, !self.seed, self.down);
                ended(&mut stream);
            }
            Manner::ServerHalfClose => {
                arrived(&stream, !self.seed, self.down);
                ended(&mut stream);
                sent(&stream, self.seed, self.up);
            }
            Manner::ClientResets => {
                both(&stream);
                // A reset takes along what has not arrived: the server says when it has everything.
                stream.read_exact(&mut [0]).unwrap();
                set_socket_linger(stream.as_fd(), Some(Duration::ZERO)).unwrap();
            }
            Manner::ServerResets => {
                both(&stream);
                stream.write_all(b"!").unwrap();
                reset(&mut stream);
            }
        }
    }

    pub(super) fn server(mut stream: TcpStream) {
        let deal = Deal::read(&mut stream);
        set_room(&stream, deal.manner);
        let both = |stream: &TcpStream| {
            thread::scope(|scope| {
                scope.spawn(|| sent(stream, !deal.seed, deal.down));
                arrived(stream, deal.seed, deal.up);
            });
        };
        match deal.manner {
            Manner::Together | Manner::Slow => both(&stream),
            Manner::HalfClose => {
                arrived(&stream, deal.seed, deal.up);
                ended(&mut stream);
                sent(&stream, !deal.seed, deal.down);
            }
            Manner::ServerHalfClose => {
                sent(&stream, !deal.seed, deal.down);
                stream.shutdown(Shutdown::Write).unwrap();
                arrived(&stream, deal.seed, deal.up);
                ended(&mut stream);
            }
            Manner::ClientResets => {
                both(&stream);
                stream.write_all(b"!").unwrap();
                reset(&mut stream);
            }
            Manner::ServerResets => {
                both(&stream);
                stream.read_exact(&mut [0]).unwrap();
                set_socket_linger(stream.as_fd(), Some(Duration::ZERO)).unwrap();
            }
        }
    }
}

fn set_room(stream: &TcpStream, manner: Manner) {
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    stream.set_write_timeout(Some(LIMIT)).unwrap();
    if manner == Manner::Slow {
        set_socket_recv_buffer_size(stream.as_fd(), 4096).unwrap();
    }
}

/// xorshift: bytes that don't repeat.
struct Random(u32);

impl Random {
    fn next(&mut self) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 17;
        self.0 ^= self.0 << 5;
        self.0
    }

    fn fill(&mut self, room: &mut [u8]) {
        for byte in room.chunks_mut(4) {
            let number = self.next().to_be_bytes();
            byte.copy_from_slice(&number[..byte.len()]);
        }
    }
}

const PIECE: usize = 4096;

fn sent(mut stream: &TcpStream, seed: u32, count: u32) {
    let mut random = Random(seed | 1);
    let mut room = [0; PIECE];
    let mut left = count as usize;
    while left > 0 {
        random.fill(&mut room);
        let piece = &room[..left.min(PIECE)];
        stream.write_all(piece).unwrap();
        left -= piece.len();
    }
}

fn arrived(mut stream: &TcpStream, seed: u32, count: u32) {
    let mut random = Random(seed | 1);
    let (mut room, mut expected) = ([0; PIECE], [0; PIECE]);
    let mut left = count as usize;
    while left > 0 {
        random.fill(&mut expected);
        let piece = left.min(PIECE);
        stream.read_exact(&mut room[..piece]).unwrap();
        assert!(room[..piece] == expected[..piece], "other bytes, {left} of {count} before the end");
        left -= piece;
    }
}

#[track_caller]
fn ended(stream: &mut TcpStream) {
    assert_eq!(stream.read(&mut [0]).unwrap(), 0, "more than was sent");
}

#[track_caller]
pub(super) fn reset(stream: &mut TcpStream) {
    assert_eq!(stream.read(&mut [0]).unwrap_err().kind(), ErrorKind::ConnectionReset);
}
