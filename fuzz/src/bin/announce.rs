//! No input without the key is accepted, answered or believed, whatever it is made of: as it stands, as a change of
//! an update that the server would accept, and as a change of an answer that the client waits for.
//! Input: message.
#![no_main]

use core::time::Duration;
use std::net::IpAddr;

use libfuzzer_sys::fuzz_target;
use straddle_announce::{
    BridgeId, Client, Datagram, Key, LENGTH, Now, Reason, Run, Server, Timing, Unverified,
};
use straddle_wire::ip::Version;

fuzz_target!(|input: &[u8]| {
    let (mut server, mut client) = (server(), client());
    let first = client.send(NOW).expect("it is due");
    let challenge = receive(&mut server, &first).1.expect("it is challenged");
    refused_by_server(&mut server, input);
    refused_by_client(&mut client, input);

    assert_eq!(client.receive(&challenge, NOW), Reason::Challenged);
    let update = client.send(NOW).expect("it is due at once");
    refused_by_server(&mut server, &changed(&update, input));
    refused_by_client(&mut client, &changed(&challenge, input));
    let (reason, answer) = receive(&mut server, &update);
    assert_eq!(reason, Reason::Accepted, "what was refused is in nobody's way");

    let ack = answer.expect("it is acknowledged");
    refused_by_client(&mut client, &changed(&ack, input));
    assert_eq!(client.receive(&ack, NOW), Reason::Acknowledged);
});

const NOW: Now = Now { elapsed: Duration::ZERO, unix: Duration::from_secs(1_700_000_000) };

fn server() -> Server {
    Server::new(BridgeId::of("home"), key(), Version::V6, [3; 32], None)
}

fn client() -> Client {
    let mut client = Client::new(BridgeId::of("home"), key(), Run([1; 16]), Timing::default());
    client.announce(Some(IpAddr::V6([0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1].into())), NOW);
    client
}

fn key() -> Key {
    Key::new(&[7; 32]).expect("long enough")
}

fn receive(server: &mut Server, bytes: &[u8]) -> (Reason, Option<Datagram>) {
    match Unverified::parse(bytes) {
        Ok(datagram) => {
            let outcome = server.receive(&datagram, |_| true);
            (outcome.reason, outcome.answer)
        }
        Err(reason) => (reason, None),
    }
}

/// A good message changed by the input, in one bit at least.
fn changed(good: &Datagram, input: &[u8]) -> Datagram {
    let mut bytes = *good;
    bytes.iter_mut().zip(input).for_each(|(byte, change)| *byte ^= change);
    if bytes == *good {
        bytes[input.len() % LENGTH] ^= 1;
    }
    bytes
}

fn refused_by_server(server: &mut Server, bytes: &[u8]) {
    let before = server.endpoint();
    let (reason, answer) = receive(server, bytes);
    assert!(is_refusal(reason), "{reason:?}");
    assert_eq!((server.endpoint(), answer), (before, None));
}

fn refused_by_client(client: &mut Client, bytes: &[u8]) {
    let before = (client.endpoint(), client.acknowledged(), client.due());
    let reason = client.receive(bytes, NOW);
    assert!(is_refusal(reason), "{reason:?}");
    assert_eq!((client.endpoint(), client.acknowledged(), client.due()), before);
}

fn is_refusal(reason: Reason) -> bool {
    use Reason::{Direction, Forged, Length, Malformed, UnknownBridge, Version};
    matches!(reason, Length | Version | Malformed | UnknownBridge | Direction | Forged)
}
