use std::net::{Ipv6Addr, SocketAddr, UdpSocket};
use std::time::Duration;

use straddle_serve::relay::{Protocol, Reason, Rules, Target};

use super::world::{LIMIT, LOOPBACK, World, turn};

fn udp() -> (UdpSocket, SocketAddr) {
    let socket = UdpSocket::bind((Ipv6Addr::LOCALHOST, 0)).unwrap();
    socket.set_read_timeout(Some(LIMIT)).unwrap();
    let address = socket.local_addr().unwrap();
    (socket, address)
}

#[test]
fn datagrams_both_ways() {
    let _turn = turn();
    let (server, target) = udp();
    let rules = Rules { idle_timeout: [Duration::from_millis(400); 2], ..Rules::default() };
    let world = World::new(Protocol::Udp, Target::Address(target), rules);
    let clients: [UdpSocket; 2] = std::array::from_fn(|_| {
        let client = UdpSocket::bind((LOOPBACK, 0)).unwrap();
        client.connect(world.address()).unwrap();
        client.set_read_timeout(Some(LIMIT)).unwrap();
        client
    });
    let mut room = vec![0; 65_536];
    for size in [0, 1, 64, 1472, 9000, 60_000] {
        for (index, client) in clients.iter().enumerate() {
            let question = vec![index as u8; size];
            client.send(&question).unwrap();
            let (length, from) = server.recv_from(&mut room).unwrap();
            assert_eq!(room[..length], question, "{size} bytes");
            server.send_to(&room[..length], from).unwrap();
            assert_eq!(client.recv(&mut room).unwrap(), size);
        }
    }
    // Many at once keep their order and their borders.
    let [client, _] = &clients;
    for burst in 0..5 {
        let numbers = burst * 100..burst * 100 + 100u32;
        for number in numbers.clone() {
            client.send(&vec![number as u8; 100 + number as usize % 3]).unwrap();
        }
        for number in numbers {
            let length = server.recv(&mut room).unwrap();
            assert_eq!((length, room[0]), (100 + number as usize % 3, number as u8), "datagram {number}");
        }
    }
    world.ended(Reason::Idle, 2);
    let counted = world.counted();
    assert_eq!(
        (counted.to_target.datagrams, counted.to_client.datagrams, counted.to_target.lost),
        (512, 12, 0)
    );
}

#[test]
fn an_icmp_error_ends_a_session() {
    let _turn = turn();
    let (server, target) = udp();
    drop(server);
    let world = World::new(Protocol::Udp, Target::Address(target), Rules::default());
    let client = UdpSocket::bind((LOOPBACK, 0)).unwrap();
    client.send_to(b"anybody?", world.address()).unwrap();
    world.ended(Reason::TargetRefused, 1);
}

#[test]
fn datagrams_wait_for_a_name_and_have_headers() {
    let _turn = turn();
    let server = UdpSocket::bind((LOOPBACK, 0)).unwrap();
    server.set_read_timeout(Some(LIMIT)).unwrap();
    let target = Target::Name("localhost".into(), server.local_addr().unwrap().port());
    let rules = Rules {
        allow_private: vec!["127.0.0.0/8".parse().unwrap()],
        proxy_out: true,
        max_connections: Some(1),
        ..Rules::default()
    };
    let world = World::new(Protocol::Udp, target, rules);
    let client = UdpSocket::bind((LOOPBACK, 0)).unwrap();
    for _ in 0..3 {
        client.send_to(b"hello", world.address()).unwrap();
    }
    let mut room = [0; 100];
    for _ in 0..3 {
        let length = server.recv(&mut room).unwrap();
        assert_eq!(&room[..14], b"\r\n\r\n\0\r\nQUIT\n\x21\x12");
        assert_eq!(&room[16..20], [127, 0, 0, 1]);
        assert_eq!(room[24..26], client.local_addr().unwrap().port().to_be_bytes());
        assert_eq!(&room[28..length], b"hello");
    }
    let other = UdpSocket::bind((LOOPBACK, 0)).unwrap();
    other.send_to(b"hello", world.address()).unwrap();
    world.ended(Reason::TooMany, 1);
}
