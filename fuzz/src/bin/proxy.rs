//! A PROXY header ends where it ends, whatever follows; no beginning of one is taken for one, or refused; and what it
//! tells comes out again as it went in. Input: the first bytes of a connection.
#![no_main]

use libfuzzer_sys::fuzz_target;
use straddle_wire::proxy::{Header, ROOM, Read, Transport, read};

fuzz_target!(|input: &[u8]| {
    let found = read(input);
    match found {
        Read::Header(length, told) => {
            let header = input.get(..length).expect("it is all there");
            assert_eq!(read(header), found, "what follows does not count");
            assert!((1..=ROOM).contains(&length));
            for end in 0..length {
                assert_eq!(read(&header[..end]), Read::Incomplete, "{end} bytes of it");
            }
            let Some((client, destination)) = told else { return };
            for transport in [Transport::Stream, Transport::Datagram] {
                let again = Header::of(transport, client, destination);
                assert_eq!(read(again.bytes()), Read::Header(again.bytes().len(), told));
            }
        }
        Read::Incomplete => assert!(input.len() < ROOM, "it is waited for without an end"),
        Read::Bad => assert!(!input.is_empty(), "nothing was read"),
    }
});
