//! Bytes to message and back. What was not verified is of a type of its own.

use core::net::IpAddr;

use crate::key::{TAG, Toward};
use crate::{BridgeId, Key, Reason, endpoint};

/// Bytes of a message.
pub const LENGTH: usize = at::TAG + TAG;

/// A message as it goes over the wire.
pub type Datagram = [u8; LENGTH];

/// Offsets in bytes.
mod at {
    pub(super) const MARKER: usize = 0;
    pub(super) const KIND: usize = 4;
    pub(super) const BRIDGE: usize = 8;
    pub(super) const ENDPOINT: usize = 16;
    pub(super) const COUNTER: usize = 32;
    pub(super) const RUN: usize = 40;
    pub(super) const SESSION: usize = 56;
    pub(super) const TAG: usize = 72;
}

/// What a message begins with: three letters and the version.
const MARKER: [u8; 4] = *b"SEU\x01";

/// What a message is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Kind {
    /// Client to server: my endpoint is this.
    Update,
    /// Server to client: say it again in the session that is offered.
    Challenge,
    /// Server to client: this update counts.
    Ack,
    /// Server to client: this update counts for nothing, whatever its key says.
    Refusal,
}

/// Random bytes that a client draws when it starts.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Run(pub [u8; 16]);

/// What a server told to a run of the client.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Session(pub(crate) [u8; 16]);

impl Session {
    /// That of a client which was told none yet.
    pub(crate) const NONE: Session = Session([0; 16]);
}

/// The fields of a message.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Message {
    /// What it is.
    pub(crate) kind: Kind,
    /// Which bridge it is about.
    pub(crate) bridge: BridgeId,
    /// The client's endpoint.
    pub(crate) endpoint: IpAddr,
    /// Microseconds since 1970 by the client's clock; grows with each update of a run.
    pub(crate) counter: u64,
    /// The client's run.
    pub(crate) run: Run,
    /// The session that the update is of, or that a challenge offers.
    pub(crate) session: Session,
}

/// Bytes of a message whose key has not been asked for.
#[derive(Clone, Copy, Debug)]
pub struct Unverified<'a> {
    bytes: &'a Datagram,
    kind: Kind,
}

impl Kind {
    pub(crate) const fn toward(self) -> Toward {
        match self {
            Self::Update => Toward::Server,
            Self::Challenge | Self::Ack | Self::Refusal => Toward::Client,
        }
    }

    const fn number(self) -> u8 {
        match self {
            Self::Update => 1,
            Self::Challenge => 2,
            Self::Ack => 3,
            Self::Refusal => 4,
        }
    }

    const fn of(number: u8) -> Option<Self> {
        match number {
            1 => Some(Self::Update),
            2 => Some(Self::Challenge),
            3 => Some(Self::Ack),
            4 => Some(Self::Refusal),
            _ => None,
        }
    }
}

impl<'a> Unverified<'a> {
    /// Reads a datagram as far as can be done without a key.
    ///
    /// # Errors
    /// [`Reason::Length`], [`Reason::Version`] or [`Reason::Malformed`].
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Reason> {
        let bytes: &Datagram = bytes.try_into().map_err(|_| Reason::Length)?;
        if get(bytes, at::MARKER) != MARKER {
            return Err(Reason::Version);
        }
        match get(bytes, at::KIND) {
            [number, 0, 0, 0] => Kind::of(number).map(|kind| Self { bytes, kind }).ok_or(Reason::Malformed),
            _ => Err(Reason::Malformed),
        }
    }

    /// Which bridge it says that it is about.
    #[must_use]
    pub fn bridge(&self) -> BridgeId {
        BridgeId(get(self.bytes, at::BRIDGE))
    }

    /// The message, if it goes this way and is signed with the key.
    pub(crate) fn verify(&self, key: &Key, toward: Toward) -> Result<Message, Reason> {
        if self.kind.toward() != toward {
            return Err(Reason::Direction);
        }
        let (signed, tag) = self.bytes.split_first_chunk::<{ at::TAG }>().ok_or(Reason::Length)?;
        let tag: &[u8; TAG] = tag.try_into().map_err(|_| Reason::Length)?;
        if !key.verifies(toward, signed, tag) {
            return Err(Reason::Forged);
        }
        Ok(Message {
            kind: self.kind,
            bridge: self.bridge(),
            endpoint: endpoint::from_bytes(get(self.bytes, at::ENDPOINT)),
            counter: u64::from_be_bytes(get(self.bytes, at::COUNTER)),
            run: Run(get(self.bytes, at::RUN)),
            session: Session(get(self.bytes, at::SESSION)),
        })
    }
}

impl Message {
    /// The message's bytes, signed.
    pub(crate) fn sign(&self, key: &Key) -> Datagram {
        let mut bytes = [0; LENGTH];
        put(&mut bytes, at::MARKER, MARKER);
        put(&mut bytes, at::KIND, [self.kind.number()]);
        put(&mut bytes, at::BRIDGE, self.bridge.0);
        put(&mut bytes, at::ENDPOINT, endpoint::to_bytes(self.endpoint));
        put(&mut bytes, at::COUNTER, self.counter.to_be_bytes());
        put(&mut bytes, at::RUN, self.run.0);
        put(&mut bytes, at::SESSION, self.session.0);
        let signed: [u8; at::TAG] = get(&bytes, 0);
        put(&mut bytes, at::TAG, key.sign(self.kind.toward(), &signed));
        bytes
    }
}

/// The field at an offset; every one that is asked for lies within.
fn get<const N: usize>(bytes: &Datagram, at: usize) -> [u8; N] {
    bytes.get(at..).and_then(<[u8]>::first_chunk).copied().unwrap_or([0; N])
}

fn put<const N: usize>(bytes: &mut Datagram, at: usize, value: [u8; N]) {
    if let Some(field) = bytes.get_mut(at..).and_then(<[u8]>::first_chunk_mut) {
        *field = value;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> Key {
        Key::new(core::array::from_fn::<u8, 32, _>(|index| index as u8).as_slice()).unwrap()
    }

    fn message(kind: Kind) -> Message {
        Message {
            kind,
            bridge: BridgeId::of("home"),
            endpoint: "2001:db8::231:201:224:144".parse().unwrap(),
            counter: 0x0102_0304_0506_0708,
            run: Run([0xaa; 16]),
            session: Session([0xbb; 16]),
        }
    }

    #[test]
    fn there_and_back() {
        let check = |kind: Kind, endpoint: &str| {
            let message = Message { endpoint: endpoint.parse().unwrap(), ..message(kind) };
            let bytes = message.sign(&key());
            let read = Unverified::parse(&bytes).unwrap();
            assert_eq!(read.bridge(), message.bridge);
            assert_eq!(read.verify(&key(), kind.toward()), Ok(message));
        };
        check(Kind::Update, "2001:db8::1");
        check(Kind::Challenge, "192.0.2.1");
        check(Kind::Ack, "::1");
        check(Kind::Refusal, "192.0.2.1");
    }

    #[test]
    fn refused() {
        let check = |change: fn(&mut std::vec::Vec<u8>), expected: Reason| {
            let mut bytes = message(Kind::Update).sign(&key()).to_vec();
            change(&mut bytes);
            let end = Unverified::parse(&bytes).and_then(|read| read.verify(&key(), Toward::Server));
            assert_eq!(end, Err(expected));
        };
        check(|bytes| bytes.clear(), Reason::Length);
        check(|bytes| bytes.truncate(LENGTH - 1), Reason::Length);
        check(|bytes| bytes.push(0), Reason::Length);
        check(|bytes| bytes[0] = b's', Reason::Version);
        check(|bytes| bytes[3] = 2, Reason::Version);
        check(|bytes| bytes[4] = 0, Reason::Malformed);
        check(|bytes| bytes[4] = 5, Reason::Malformed);
        check(|bytes| bytes[7] = 1, Reason::Malformed);
        check(|bytes| bytes[4] = 2, Reason::Direction);
        check(|bytes| bytes[4] = 3, Reason::Direction);
        check(|bytes| bytes[4] = 4, Reason::Direction);
        check(|bytes| bytes[8] ^= 1, Reason::Forged);
        check(|bytes| bytes[31] ^= 1, Reason::Forged);
        check(|bytes| bytes[39] ^= 1, Reason::Forged);
        check(|bytes| bytes[55] ^= 1, Reason::Forged);
        check(|bytes| bytes[71] ^= 1, Reason::Forged);
        check(|bytes| bytes[72] ^= 1, Reason::Forged);
        check(|bytes| bytes[LENGTH - 1] ^= 0x80, Reason::Forged);
        check(|bytes| bytes[at::TAG..].fill(0), Reason::Forged);
    }

    /// A server's message does not become a client's by another kind: the direction is signed too.
    #[test]
    fn reflected() {
        let mut bytes = message(Kind::Ack).sign(&key());
        bytes[4] = Kind::Update.number();
        let signed: [u8; at::TAG] = get(&bytes, 0);
        put(&mut bytes, at::TAG, key().sign(Toward::Client, &signed));
        let read = Unverified::parse(&bytes).unwrap();
        assert_eq!(read.verify(&key(), Toward::Server), Err(Reason::Forged));
    }

    /// The bytes as another implementation of HMAC makes them (Python's `hmac`), so that no two versions of
    /// straddle differ.
    #[test]
    fn on_the_wire() {
        let check = |kind: Kind, head: &str, tag: &str| {
            let bytes = message(kind).sign(&key());
            let hex =
                |bytes: &[u8]| bytes.iter().map(|b| std::format!("{b:02x}")).collect::<std::string::String>();
            assert_eq!(hex(&bytes[..at::TAG]), [head, MIDDLE].concat());
            assert_eq!(hex(&bytes[at::TAG..]), tag);
        };
        const MIDDLE: &str = "4ea140588150773c20010db80000000002310201022401440102030405060708aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaabbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";
        check(
            Kind::Update,
            "5345550101000000",
            "5fdeea968c16ef3c395745c13e53d4bbd72218353e145ff5a5ec429b330df0db",
        );
        check(
            Kind::Challenge,
            "5345550102000000",
            "f1486b6632f1ecf4b61863bb2f3eb14c67863ca77b940ad7b2bbdff34478a90c",
        );
        check(
            Kind::Ack,
            "5345550103000000",
            "e767805ee63af0ceaae2487e8a4e874120808d83212522568cd775cd0355caa3",
        );
    }
}
