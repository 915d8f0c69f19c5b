//! An error is a valid packet of bounded size to the one who sent the offending one, and never about
//! an error.
//! Input: kind, type, code, info, offending packet.
#![no_main]

use core::net::Ipv6Addr;

use libfuzzer_sys::fuzz_target;
use straddle_encap::Reason;
use straddle_encap::errors::{DUMMY4, MAX_ERROR, OuterError, Sources, inward, is_no_tunnel, too_big};
use straddle_fuzz::{kind, take};
use straddle_wire::checksum::Sum;
use straddle_wire::icmpv4::Message;
use straddle_wire::ip::{self, Packet};

const FROM: Sources = Sources { v4: DUMMY4, v6: Ipv6Addr::LOCALHOST };

fuzz_target!(|input: &[u8]| {
    let Some(([choice, icmp_type, code, i0, i1, i2], offending)) = take(input) else {
        return;
    };
    let info = u32::from_be_bytes([0, i0, i1, i2]);
    let error = match choice & 0x80 {
        0 => OuterError::V6 { kind: icmp_type, code, info },
        _ => OuterError::V4 { kind: icmp_type, code, info },
    };
    let _ = is_no_tunnel(error);
    let mut out = [0; MAX_ERROR];
    if let Ok(length) = inward(kind(choice), error, offending, FROM, &mut out) {
        check(&out[..length], offending);
    }
    if let Ok(length) = too_big(offending, info as u16, FROM, &mut out) {
        check(&out[..length], offending);
    }
});

fn check(error: &[u8], offending: &[u8]) {
    let packet = Packet::parse(error).expect("an error is a packet");
    assert_eq!(packet.total_len(), error.len());
    let sum = Sum::of(packet.payload());
    let message = Message::parse(packet.payload()).expect("an error is ICMP");
    let quoted = Packet::parse_cut(message.payload).expect("the header is quoted");
    assert!(offending.windows(message.payload.len()).any(|part| part == message.payload));
    match (&packet, &quoted) {
        (Packet::V4(v4), Packet::V4(quoted)) => {
            assert!(v4.checksum_is_valid() && sum.is_valid());
            assert!(error.len() <= 576);
            assert_eq!(v4.header.destination, quoted.header.source);
        }
        (Packet::V6(v6), Packet::V6(quoted)) => {
            let pseudo = packet.pseudo(ip::ICMPV6, packet.payload().len() as u16);
            assert!(pseudo.plus(sum).is_valid());
            assert_eq!(v6.header.destination, quoted.header.source);
        }
        _ => panic!("an error of the other version"),
    }
    // Nobody answers our error with another one: turn it round, as if the sender had sent it.
    let again = too_big(error, 0, FROM, &mut [0; MAX_ERROR]);
    let silent = matches!(again, Err(Reason::ErrorAboutError | Reason::ErrorNotWanted));
    assert!(silent);
}
