//! The question and its answer, as values.

use std::net::Ipv6Addr;
use std::time::Duration;

use hickory_proto::op::{Header, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::{Name, RData, RecordType};
use hickory_proto::serialize::binary::{BinDecodable as _, BinDecoder};
use straddle_xlat::rfc6052::{NotDiscovered, Prefix};

use super::Failure;
use crate::discover::is_usable;

pub(super) use hickory_proto::op::Message;

/// The name that has IPv4 addresses only (RFC 7050 §8.1).
const NAME: &str = "ipv4only.arpa.";

/// The question as bytes: a recursive one, and one whose answer is not checked with DNSSEC by the asker, who
/// could not have it made up then (RFC 7050 §3: the CD bit is zero).
pub(super) fn query(id: u16) -> Option<Vec<u8>> {
    let mut message = Message::new(id, MessageType::Query, OpCode::Query);
    message.metadata.recursion_desired = true;
    message.add_query(Query::query(name()?, RecordType::AAAA));
    message.to_vec().ok()
}

fn name() -> Option<Name> {
    Name::from_ascii(NAME).ok()
}

/// What arrived.
#[derive(Debug)]
pub(super) enum Reply {
    /// The answer.
    Whole(Message),
    /// The head of the answer; the rest comes over TCP (RFC 7766 §5).
    Truncated,
    /// It bears the number of the question, but can't be read.
    Garbled,
    /// It answers another question.
    Foreign,
}

/// Reads what arrived after the question with this number was sent.
pub(super) fn reply(id: u16, bytes: &[u8]) -> Reply {
    let Ok(Header { metadata, .. }) = Header::read(&mut BinDecoder::new(bytes)) else {
        return Reply::Foreign;
    };
    if metadata.id != id
        || metadata.message_type != MessageType::Response
        || metadata.op_code != OpCode::Query
    {
        return Reply::Foreign;
    }
    if metadata.truncation {
        return Reply::Truncated;
    }
    match Message::from_vec(bytes) {
        Ok(message) if is_ours(&message) => Reply::Whole(message),
        Ok(_) => Reply::Foreign,
        Err(_) => Reply::Garbled,
    }
}

/// Whether the question is repeated in it, in upper or lower case (RFC 4343). An error may come without.
fn is_ours(message: &Message) -> bool {
    match message.queries.as_slice() {
        [query] => name().is_some_and(|name| query.name == name) && query.query_type == RecordType::AAAA,
        [] => message.metadata.response_code != ResponseCode::NoError,
        _ => false,
    }
}

/// The prefixes that an answer tells, in its order, each with the longest of its TTLs.
pub(super) fn prefixes(message: &Message) -> Result<Vec<(Prefix, Duration)>, Failure> {
    check(message.metadata.response_code)?;
    let found = addresses(message);
    let answers: Vec<Ipv6Addr> = found.iter().map(|(address, _)| *address).collect();
    let mut told: Vec<(Prefix, Duration)> = Vec::new();
    let mut trouble = None;
    for (address, ttl) in found {
        match Prefix::discovered(address, &answers) {
            Ok(prefix) if is_usable(prefix) => match told.iter_mut().find(|(known, _)| *known == prefix) {
                Some((_, longest)) => *longest = ttl.max(*longest),
                None => told.push((prefix, ttl)),
            },
            Ok(_) | Err(NotDiscovered::Several) => {
                trouble.get_or_insert(Failure::Ambiguous(address));
            }
            Err(NotDiscovered::Nowhere) => {
                trouble.get_or_insert(Failure::OtherAddress(address));
            }
        }
    }
    if told.is_empty() { Err(trouble.unwrap_or(Failure::NoDns64)) } else { Ok(told) }
}

fn check(code: ResponseCode) -> Result<(), Failure> {
    if code == ResponseCode::NoError {
        Ok(())
    } else if code == ResponseCode::NXDomain {
        Err(Failure::NoSuchName)
    } else if code == ResponseCode::ServFail {
        Err(Failure::ServerFailure)
    } else if code == ResponseCode::Refused {
        Err(Failure::Refused)
    } else {
        Err(Failure::Code(code.into()))
    }
}

/// The addresses of the name and of what it is another name for, each with the least TTL on the way to it.
fn addresses(message: &Message) -> Vec<(Ipv6Addr, Duration)> {
    let Some(name) = name() else { return Vec::new() };
    let mut names = vec![(&name, u32::MAX)];
    // No name is walked from twice, so that a loop of CNAMEs ends.
    while let Some((alias, ttl)) = names.last().and_then(|at| alias(message, at)) {
        if names.iter().any(|(known, _)| *known == alias) {
            break;
        }
        names.push((alias, ttl));
    }
    let mut found = Vec::new();
    for record in &message.answers {
        let owner = names.iter().find(|(name, _)| **name == record.name);
        if let (RData::AAAA(address), Some((_, way))) = (&record.data, owner) {
            found.push((address.0, Duration::from_secs(seconds(record.ttl).min(*way).into())));
        }
    }
    found
}

/// What a name is another name for, with the least TTL up to there.
fn alias<'a>(message: &'a Message, (name, way): &(&Name, u32)) -> Option<(&'a Name, u32)> {
    message.answers.iter().filter(|record| record.name == **name).find_map(|record| {
        let RData::CNAME(target) = &record.data else { return None };
        Some((&target.0, seconds(record.ttl).min(*way)))
    })
}

/// A TTL with its highest bit set is zero (RFC 2181 §8).
fn seconds(ttl: u32) -> u32 {
    if ttl > i32::MAX.cast_unsigned() { 0 } else { ttl }
}

#[cfg(test)]
mod tests {
    use hickory_proto::rr::Record;
    use hickory_proto::rr::rdata::{A, AAAA, CNAME};
    use proptest::prelude::*;

    use super::*;
    use crate::discover::hex;

    const ID: u16 = 0x1234;

    /// The same question as another encoder (scapy) makes it.
    const QUESTION: &str = "
        1234 0100 0001 0000 0000 0000           # recursion desired
        08 697076346f6e6c79 04 61727061 00      # ipv4only.arpa
        001c 0001                               # AAAA IN
    ";

    #[test]
    fn the_question() {
        assert_eq!(query(ID).unwrap(), hex::bytes(QUESTION));
    }

    /// One line for each record: owner, TTL, and A, AAAA or CNAME with what it says.
    fn answer(code: ResponseCode, lines: &[&str]) -> Message {
        let mut message = Message::response(ID, OpCode::Query);
        message.metadata.response_code = code;
        message.add_query(Query::query(name().unwrap(), RecordType::AAAA));
        for line in lines {
            let words: Vec<&str> = line.split(' ').collect();
            let data = match words[2] {
                "A" => RData::A(A(words[3].parse().unwrap())),
                "AAAA" => RData::AAAA(AAAA(words[3].parse().unwrap())),
                _ => RData::CNAME(CNAME(Name::from_ascii(words[3]).unwrap())),
            };
            let owner = Name::from_ascii(words[0]).unwrap();
            message.add_answer(Record::from_rdata(owner, words[1].parse().unwrap(), data));
        }
        message
    }

    /// `PREFIX SECONDS` for each prefix, or the failure in words.
    fn told(message: &Message) -> String {
        match prefixes(message) {
            Ok(told) => {
                let line = |(prefix, ttl): &(Prefix, Duration)| format!("{prefix} {}", ttl.as_secs());
                told.iter().map(line).collect::<Vec<_>>().join(", ")
            }
            Err(failure) => failure.to_string(),
        }
    }

    #[test]
    fn what_records_tell() {
        let check = |lines: &[&str], expected: &str| {
            let bytes = answer(ResponseCode::NoError, lines).to_vec().unwrap();
            let Reply::Whole(message) = reply(ID, &bytes) else { panic!("{lines:?}") };
            assert_eq!(told(&message), expected, "{lines:?}");
        };
        let none = "has no AAAA for ipv4only.arpa: it is no DNS64";
        check(&["ipv4only.arpa. 300 AAAA 64:ff9b::c000:aa"], "64:ff9b::/96 300");
        check(&["ipv4only.arpa. 300 AAAA 64:ff9b::c000:ab"], "64:ff9b::/96 300");
        check(&["ipv4only.arpa. 300 AAAA 2001:db8:122:344:c0:0:aa00:0"], "2001:db8:122:344::/64 300");
        check(&["ipv4only.arpa. 300 AAAA 2001:db8:122:3c0:0:aa::"], "2001:db8:122:300::/56 300");
        check(&["ipv4only.arpa. 300 AAAA 2001:db8:122:c000:0:aa00::"], "2001:db8:122::/48 300");
        check(&["ipv4only.arpa. 300 AAAA 2001:db8:1c0:0:aa::"], "2001:db8:100::/40 300");
        check(&["ipv4only.arpa. 300 AAAA 2001:db8:c000:aa::"], "2001:db8::/32 300");
        // Both addresses behind one prefix are one; the longer TTL counts.
        check(
            &["ipv4only.arpa. 30 AAAA 64:ff9b::c000:aa", "ipv4only.arpa. 40 AAAA 64:ff9b::c000:ab"],
            "64:ff9b::/96 40",
        );
        check(
            &[
                "ipv4only.arpa. 30 AAAA 2001:db8:2::c000:aa",
                "ipv4only.arpa. 30 AAAA 2001:db8:1::c000:aa",
                "ipv4only.arpa. 30 AAAA 2001:db8:2::c000:ab",
            ],
            "2001:db8:2::/96 30, 2001:db8:1::/96 30",
        );
        check(
            &["IPV4ONLY.arpa. 30 AAAA 64:ff9b::c000:aa", "other.example. 30 AAAA 2001:db8::c000:aa"],
            "64:ff9b::/96 30",
        );
        // CNAMEs, in any order; the least TTL on the way.
        check(
            &["ipv4only.arpa. 20 CNAME a.example.", "a.example. 30 AAAA 64:ff9b::c000:aa"],
            "64:ff9b::/96 20",
        );
        check(
            &[
                "b.example. 30 AAAA 64:ff9b::c000:aa",
                "a.example. 10 CNAME B.example.",
                "ipv4only.arpa. 20 CNAME A.example.",
            ],
            "64:ff9b::/96 10",
        );
        check(&["ipv4only.arpa. 20 CNAME a.example.", "b.example. 30 AAAA 64:ff9b::c000:aa"], none);
        check(&["ipv4only.arpa. 20 CNAME ipv4only.arpa."], none);
        check(&["ipv4only.arpa. 20 CNAME a.example.", "a.example. 20 CNAME ipv4only.arpa."], none);
        check(&["ipv4only.arpa. 2147483647 AAAA 64:ff9b::c000:aa"], "64:ff9b::/96 2147483647");
        check(&["ipv4only.arpa. 2147483648 AAAA 64:ff9b::c000:aa"], "64:ff9b::/96 0");
        check(&[], none);
        check(&["ipv4only.arpa. 300 A 192.0.0.170"], none);
        let other = |address| {
            format!("has {address} for ipv4only.arpa, which holds neither 192.0.0.170 nor 192.0.0.171")
        };
        check(&["ipv4only.arpa. 300 AAAA 2001:db8::1"], &other("2001:db8::1"));
        check(&["ipv4only.arpa. 300 AAAA 64:ff9b::c000:ac"], &other("64:ff9b::c000:ac"));
        // A u octet that is not zero.
        check(&["ipv4only.arpa. 300 AAAA 2001:db8:1:2:1c0:0:aa00:0"], &other("2001:db8:1:2:1c0:0:aa00:0"));
        check(
            &["ipv4only.arpa. 300 AAAA 2001:db8::1", "ipv4only.arpa. 300 AAAA 64:ff9b::c000:aa"],
            "64:ff9b::/96 300",
        );
        let vague = |address| format!("has {address} for ipv4only.arpa, which does not tell a prefix");
        check(&["ipv4only.arpa. 300 AAAA ::ffff:192.0.0.170"], &vague("::ffff:192.0.0.170"));
        check(&["ipv4only.arpa. 300 AAAA ::192.0.0.170"], &vague("::c000:aa"));
        check(&["ipv4only.arpa. 300 AAAA 2001:db8:c000:aa::c000:aa"], &vague("2001:db8:c000:aa::c000:aa"));
    }

    #[test]
    fn response_codes() {
        let check = |code: ResponseCode, expected: &str| {
            let bytes = answer(code, &["ipv4only.arpa. 1 AAAA 64:ff9b::c000:aa"]).to_vec().unwrap();
            let Reply::Whole(message) = reply(ID, &bytes) else { panic!("{code}") };
            assert!(told(&message).contains(expected), "{code}: {}", told(&message));
        };
        check(ResponseCode::NoError, "64:ff9b::/96 1");
        check(ResponseCode::ServFail, "SERVFAIL");
        check(ResponseCode::NXDomain, "NXDOMAIN");
        check(ResponseCode::Refused, "REFUSED");
        check(ResponseCode::FormErr, "code 1");
        check(ResponseCode::NotImp, "code 4");
    }

    #[test]
    fn which_replies_count() {
        let check = |change: fn(&mut Message), expected: &str| {
            let mut message = answer(ResponseCode::NoError, &["ipv4only.arpa. 1 AAAA 64:ff9b::c000:aa"]);
            change(&mut message);
            let kind = match reply(ID, &message.to_vec().unwrap()) {
                Reply::Whole(_) => "whole",
                Reply::Truncated => "truncated",
                Reply::Garbled => "garbled",
                Reply::Foreign => "foreign",
            };
            assert_eq!(kind, expected, "{message}");
        };
        check(|_| {}, "whole");
        check(|message| message.metadata.id = 0x1235, "foreign");
        check(|message| message.metadata.message_type = MessageType::Query, "foreign");
        check(|message| message.metadata.op_code = OpCode::Notify, "foreign");
        check(|message| message.metadata.truncation = true, "truncated");
        check(|message| message.queries.clear(), "foreign");
        check(|message| message.queries[0].query_type = RecordType::A, "foreign");
        check(|message| message.queries[0].name = Name::from_ascii("ipv6only.arpa.").unwrap(), "foreign");
        check(|message| message.queries[0].name = Name::from_ascii("IPV4only.ARPA.").unwrap(), "whole");
        check(|message| message.queries.push(message.queries[0].clone()), "foreign");
        check(
            |message| {
                message.queries.clear();
                message.metadata.response_code = ResponseCode::Refused;
            },
            "whole",
        );
    }

    /// Made by scapy.
    #[test]
    fn foreign_bytes() {
        let check = |text: &str, expected: &str| {
            let Reply::Whole(message) = reply(ID, &hex::bytes(text)) else { panic!("{text}") };
            assert_eq!(told(&message), expected);
        };
        check(
            "
            1234 8180 0001 0002 0000 0000
            08 697076346f6e6c79 04 61727061 00 001c 0001
            08 697076346f6e6c79 04 61727061 00 001c 0001 0000012c 0010
                0064ff9b 00000000 00000000 c00000aa             # 300 s, 64:ff9b::192.0.0.170
            08 697076346f6e6c79 04 61727061 00 001c 0001 000000c8 0010
                0064ff9b 00000000 00000000 c00000ab             # 200 s, 64:ff9b::192.0.0.171
            ",
            "64:ff9b::/96 300",
        );
        check(
            "
            1234 8180 0001 0003 0000 0000
            08 697076346f6e6c79 04 61727061 00 001c 0001
            08 697076346f6e6c79 04 61727061 00 0005 0001 00000064 000b
                01 61 07 6578616d706c65 00                      # 100 s, CNAME a.example
            01 61 07 6578616d706c65 00 0005 0001 00000032 000b
                01 62 07 6578616d706c65 00                      # 50 s, CNAME b.example
            01 62 07 6578616d706c65 00 001c 0001 0000012c 0010
                20010db8 00640000 00000000 c00000aa             # 300 s, 2001:db8:64::192.0.0.170
            ",
            "2001:db8:64::/96 50",
        );
    }

    #[test]
    fn cut_short() {
        let whole =
            answer(ResponseCode::NoError, &["ipv4only.arpa. 1 AAAA 64:ff9b::c000:aa"]).to_vec().unwrap();
        let check = |range: std::ops::Range<usize>, expected: fn(&Reply) -> bool| {
            for length in range {
                let reply = reply(ID, &whole[..length]);
                assert!(expected(&reply), "{length}: {reply:?}");
            }
        };
        check(0..12, |reply| matches!(reply, Reply::Foreign));
        check(12..whole.len(), |reply| matches!(reply, Reply::Garbled));
        check(whole.len()..whole.len() + 1, |reply| matches!(reply, Reply::Whole(_)));
    }

    proptest! {
        /// Whatever comes after a header that is ours, none is taken for a prefix which no record holds.
        #[test]
        fn any_bytes(flags: [u8; 2], counts in 0_u8..4, rest: Vec<u8>) {
            let mut bytes = vec![0x12, 0x34, flags[0], flags[1], 0, 1, 0, counts, 0, 0, 0, 0];
            bytes.extend(rest);
            if let Reply::Whole(message) = reply(ID, &bytes) {
                let told = prefixes(&message).unwrap_or_default();
                prop_assert!(told.len() <= message.answers.len());
            }
        }

        /// A byte that flips makes another answer at worst.
        #[test]
        fn flipped(at in 0_usize..100, bits: u8) {
            let lines = ["ipv4only.arpa. 20 CNAME a.example.", "a.example. 30 AAAA 64:ff9b::c000:aa"];
            let mut bytes = answer(ResponseCode::NoError, &lines).to_vec().unwrap();
            let at = at % bytes.len();
            bytes[at] ^= bits;
            if let Reply::Whole(message) = reply(ID, &bytes) {
                prop_assert!(prefixes(&message).unwrap_or_default().len() < 2);
            }
        }
    }
}
