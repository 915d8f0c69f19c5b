//! Asking a DNS64 for the network's prefix: RFC 7050, with the name's rules in RFC 8880.

use std::hash::{BuildHasher as _, RandomState};
use std::io::{self, Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket};
use std::thread;
use std::time::{Duration, Instant};

use straddle_xlat::rfc6052::Prefix;

use message::{Message, Reply, query, reply};

mod message;

/// What a resolver said.
#[derive(Debug)]
pub struct Answer {
    /// The resolver.
    pub resolver: SocketAddr,
    /// The prefixes that its answer tells, each with how long it may be kept (its TTL).
    pub outcome: Result<Vec<(Prefix, Duration)>, Failure>,
}

/// Why a resolver told no prefix.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// Nothing came.
    #[error("does not answer")]
    Timeout,
    /// It can't be asked.
    #[error("can't be asked: {0}")]
    Unreachable(io::Error),
    /// What came is no DNS message that can be read.
    #[error("answers with what is no DNS message")]
    Garbled,
    /// It could not find out (SERVFAIL).
    #[error("could not find out (SERVFAIL): its own resolvers may be out of reach, or it validates the name")]
    ServerFailure,
    /// It refuses to answer this host (REFUSED).
    #[error("refuses to answer this host (REFUSED)")]
    Refused,
    /// It says that the name does not exist (NXDOMAIN), which is not so.
    #[error("says that ipv4only.arpa does not exist (NXDOMAIN): it, or one before it, filters names")]
    NoSuchName,
    /// Another response code.
    #[error("answers with response code {0}")]
    Code(u16),
    /// The name has no AAAA record, as without DNS64.
    #[error("has no AAAA for ipv4only.arpa: it is no DNS64")]
    NoDns64,
    /// It has addresses without 192.0.0.170 or 192.0.0.171 at a place where RFC 6052 puts it.
    #[error("has {0} for ipv4only.arpa, which holds neither 192.0.0.170 nor 192.0.0.171")]
    OtherAddress(Ipv6Addr),
    /// An address that holds one of the two at several places, or in a prefix that no NAT64 has.
    #[error("has {0} for ipv4only.arpa, which does not tell a prefix")]
    Ambiguous(Ipv6Addr),
}

/// How long an answer over UDP is waited for before the question is sent again; then twice as long.
const FIRST_PAUSE: Duration = Duration::from_secs(1);

/// Asks every resolver at once, for at most about `patience`; the answers are in the order of the resolvers.
#[must_use]
pub fn ask(resolvers: &[SocketAddr], patience: Duration) -> Vec<Answer> {
    let deadline = Instant::now() + patience;
    thread::scope(|scope| {
        let asking: Vec<_> = resolvers
            .iter()
            .map(|resolver| {
                let one = move || ask_one(*resolver, deadline);
                (*resolver, thread::Builder::new().name("dns64".into()).spawn_scoped(scope, one))
            })
            .collect();
        asking.into_iter().map(|(resolver, thread)| Answer { resolver, outcome: outcome(thread) }).collect()
    })
}

type Outcome = Result<Vec<(Prefix, Duration)>, Failure>;

fn outcome(thread: io::Result<thread::ScopedJoinHandle<'_, Outcome>>) -> Outcome {
    let asked = thread.map_err(Failure::Unreachable)?;
    asked.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

fn ask_one(resolver: SocketAddr, deadline: Instant) -> Outcome {
    let id = RandomState::new().hash_one(resolver) as u16;
    let question = query(id).ok_or(Failure::Garbled)?;
    let message = match over_udp(resolver, id, &question, deadline)? {
        Some(message) => message,
        None => over_tcp(resolver, id, &question, deadline)?,
    };
    message::prefixes(&message)
}

/// None where the answer has no room in a datagram.
fn over_udp(
    resolver: SocketAddr,
    id: u16,
    question: &[u8],
    deadline: Instant,
) -> Result<Option<Message>, Failure> {
    let any: IpAddr =
        if resolver.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    // The kernel chooses a port at random; once connected, it takes datagrams from the resolver alone.
    let socket = UdpSocket::bind((any, 0)).map_err(Failure::Unreachable)?;
    socket.connect(resolver).map_err(Failure::Unreachable)?;
    let (mut pause, mut garbled, mut room) = (FIRST_PAUSE, false, vec![0; ROOM]);
    while Instant::now() < deadline {
        socket.send(question).map_err(Failure::Unreachable)?;
        let until = deadline.min(Instant::now() + pause);
        while let Some(length) = datagram(&socket, &mut room, until)? {
            match reply(id, room.get(..length).unwrap_or(&[])) {
                Reply::Whole(message) => return Ok(Some(message)),
                Reply::Truncated => return Ok(None),
                Reply::Garbled => garbled = true,
                Reply::Foreign => {}
            }
        }
        pause *= 2;
    }
    Err(if garbled { Failure::Garbled } else { Failure::Timeout })
}

/// The length of a datagram that arrives in time, if one does.
fn datagram(socket: &UdpSocket, room: &mut [u8], until: Instant) -> Result<Option<usize>, Failure> {
    let Some(left) = left(until) else { return Ok(None) };
    socket.set_read_timeout(Some(left)).map_err(Failure::Unreachable)?;
    match socket.recv(room) {
        Ok(length) => Ok(Some(length)),
        Err(error) if is_late(&error) => Ok(None),
        Err(error) => Err(Failure::Unreachable(error)),
    }
}

/// RFC 7766: the same, with the length before it.
fn over_tcp(resolver: SocketAddr, id: u16, question: &[u8], deadline: Instant) -> Result<Message, Failure> {
    let mut stream =
        TcpStream::connect_timeout(&resolver, left(deadline).ok_or(Failure::Timeout)?).map_err(late)?;
    let length = u16::try_from(question.len()).map_err(|_| Failure::Garbled)?;
    stream.set_write_timeout(left(deadline)).map_err(Failure::Unreachable)?;
    stream.write_all(&[&length.to_be_bytes(), question].concat()).map_err(late)?;
    let mut length = [0; 2];
    fill(&mut stream, &mut length, deadline)?;
    let mut answer = vec![0; u16::from_be_bytes(length).into()];
    fill(&mut stream, &mut answer, deadline)?;
    match reply(id, &answer) {
        Reply::Whole(message) => Ok(message),
        Reply::Truncated | Reply::Garbled | Reply::Foreign => Err(Failure::Garbled),
    }
}

/// Fills the buffer however slowly the bytes come, but not beyond the deadline.
fn fill(stream: &mut TcpStream, mut buffer: &mut [u8], deadline: Instant) -> Result<(), Failure> {
    while !buffer.is_empty() {
        stream
            .set_read_timeout(Some(left(deadline).ok_or(Failure::Timeout)?))
            .map_err(Failure::Unreachable)?;
        match stream.read(buffer).map_err(late)? {
            0 => return Err(Failure::Unreachable(io::ErrorKind::UnexpectedEof.into())),
            length => buffer = buffer.get_mut(length..).unwrap_or_default(),
        }
    }
    Ok(())
}

/// The time until then, if there is any.
fn left(until: Instant) -> Option<Duration> {
    Some(until.saturating_duration_since(Instant::now())).filter(|left| !left.is_zero())
}

/// The error of a call that has a time limit.
fn late(error: io::Error) -> Failure {
    if is_late(&error) { Failure::Timeout } else { Failure::Unreachable(error) }
}

fn is_late(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut | io::ErrorKind::Interrupted)
}

/// Room for a datagram, in bytes: more than comes where no larger size is asked for (RFC 1035 §2.3.4).
const ROOM: usize = 4096;

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use hickory_proto::op::{MessageType, ResponseCode};
    use hickory_proto::rr::rdata::AAAA;
    use hickory_proto::rr::{RData, Record};

    use super::*;

    /// What a resolver does with one question.
    #[derive(Clone, Copy)]
    enum Act {
        /// Nothing.
        Silence,
        /// Sends an answer with a number that is not the question's.
        Forge,
        /// Sends what is no message, with the question's number.
        Garble,
        /// Sends the head only.
        Truncate,
        /// Sends this code, without records.
        Code(ResponseCode),
        /// Sends the addresses of 64:ff9b::/96.
        Tell,
    }
    use Act::{Code, Forge, Garble, Silence, Tell, Truncate};

    fn answer(question: &[u8], act: Act) -> Option<Vec<u8>> {
        let mut message = Message::from_vec(question).unwrap();
        message.metadata.message_type = MessageType::Response;
        let name = message.queries[0].name.clone();
        let address = |v4: &str| RData::AAAA(AAAA(format!("64:ff9b::{v4}").parse().unwrap()));
        for v4 in ["192.0.0.170", "192.0.0.171"] {
            message.add_answer(Record::from_rdata(name.clone(), 60, address(v4)));
        }
        match act {
            Silence => return None,
            Forge => message.metadata.id = !message.metadata.id,
            Garble => return Some([&message.to_vec().unwrap()[..20], &[0xff; 20]].concat()),
            Truncate => message = message.truncate(),
            Code(code) => {
                message.answers.clear();
                message.metadata.response_code = code;
            }
            Tell => {}
        }
        message.to_vec().ok()
    }

    /// A resolver on this host that lives as long as it is asked: for each datagram the acts of one row, for the
    /// connection that may follow one act.
    fn told(datagrams: &[&[Act]], stream: Option<Act>, patience: Duration) -> String {
        let tcp = TcpListener::bind("[::1]:0").unwrap();
        let here = tcp.local_addr().unwrap();
        let udp = UdpSocket::bind(here).unwrap();
        thread::scope(|scope| {
            scope.spawn(|| serve_datagrams(&udp, datagrams));
            if let Some(act) = stream {
                scope.spawn(move || serve_stream(tcp, act));
            } else {
                drop(tcp);
            }
            let mut answers = ask(&[here], patience);
            assert_eq!((answers.len(), answers[0].resolver), (1, here));
            match answers.remove(0).outcome {
                Ok(told) => told.iter().map(|(prefix, ttl)| format!("{prefix} {}", ttl.as_secs())).collect(),
                Err(failure) => failure.to_string(),
            }
        })
    }

    fn serve_datagrams(udp: &UdpSocket, rows: &[&[Act]]) {
        let mut room = [0; 512];
        for acts in rows {
            let (length, from) = udp.recv_from(&mut room).unwrap();
            for bytes in acts.iter().filter_map(|act| answer(&room[..length], *act)) {
                udp.send_to(&bytes, from).unwrap();
            }
        }
    }

    fn serve_stream(tcp: TcpListener, act: Act) {
        let (mut stream, _) = tcp.accept().unwrap();
        let mut length = [0; 2];
        stream.read_exact(&mut length).unwrap();
        let mut question = vec![0; u16::from_be_bytes(length).into()];
        stream.read_exact(&mut question).unwrap();
        let Some(bytes) = answer(&question, act) else { return };
        // In pieces, as a stream may come.
        let length = u16::try_from(bytes.len()).unwrap().to_be_bytes();
        for byte in [&length[..], &bytes].concat() {
            stream.write_all(&[byte]).unwrap();
        }
    }

    #[test]
    fn conversations() {
        let check = |datagrams: &[&[Act]], stream: Option<Act>, expected: &str| {
            let told = told(datagrams, stream, Duration::from_secs(20));
            assert!(told.contains(expected), "{told} for {expected}");
        };
        let prefix = "64:ff9b::/96 60";
        check(&[&[Tell]], None, prefix);
        check(&[&[Forge, Garble, Tell]], None, prefix);
        check(&[&[Silence], &[Tell]], None, prefix);
        check(&[&[Truncate]], Some(Tell), prefix);
        check(&[&[Truncate]], Some(Code(ResponseCode::ServFail)), "SERVFAIL");
        check(&[&[Truncate]], Some(Forge), "no DNS message");
        check(&[&[Truncate]], Some(Truncate), "no DNS message");
        check(&[&[Truncate]], Some(Silence), "unexpected end of file");
        check(&[&[Truncate]], None, "refused");
        check(&[&[Code(ResponseCode::NoError)]], None, "no DNS64");
        check(&[&[Code(ResponseCode::NXDomain)]], None, "NXDOMAIN");
        check(&[&[Code(ResponseCode::ServFail)]], None, "SERVFAIL");
    }

    #[test]
    fn no_answer_in_time() {
        let check = |acts: &[Act], expected: &str| {
            assert_eq!(told(&[acts], None, Duration::from_millis(50)), expected);
        };
        check(&[Silence], "does not answer");
        check(&[Forge], "does not answer");
        check(&[Garble], "answers with what is no DNS message");
    }

    #[test]
    fn several_at_once() {
        let nobody = || UdpSocket::bind("[::1]:0").unwrap();
        let silent = [nobody(), nobody(), nobody()];
        let resolvers: Vec<SocketAddr> = silent.iter().map(|one| one.local_addr().unwrap()).collect();
        let begin = Instant::now();
        let answers = ask(&resolvers, Duration::from_secs(1));
        assert!(begin.elapsed() < Duration::from_secs(2));
        assert_eq!(answers.iter().map(|answer| answer.resolver).collect::<Vec<_>>(), resolvers);
        assert!(answers.iter().all(|answer| matches!(answer.outcome, Err(Failure::Timeout))));
        assert!(ask(&[], Duration::from_secs(1)).is_empty());
    }
}
