//! The bad links, on loopback: no root needed.

#![expect(
    clippy::unwrap_used,
    reason = "a helper of a test may be as blunt as the test"
)]

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use longshore_lab::{LinkSchedule, TcpShim, UdpShim};

/// Echoes every connection to its end.
fn echo_server() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || {
                let mut writer = stream.try_clone().unwrap();
                let _ = std::io::copy(&mut &stream, &mut writer);
                let _ = writer.shutdown(std::net::Shutdown::Write);
            });
        }
    });
    address
}

fn start(link: LinkSchedule) -> TcpShim {
    TcpShim::start(Ipv4Addr::LOCALHOST.into(), echo_server(), link).unwrap()
}

#[test]
fn a_slow_stream_arrives_whole_and_late() {
    let latency = Duration::from_millis(60);
    let shim = start(LinkSchedule::default().with_latency(latency, Duration::from_millis(10)));
    let mut stream = TcpStream::connect(shim.address()).unwrap();
    let sent: Vec<u8> = (0..200_000u32).map(|n| (n % 251) as u8).collect();
    let started = Instant::now();
    let mut writer = stream.try_clone().unwrap();
    let copy = sent.clone();
    std::thread::spawn(move || {
        writer.write_all(&copy).unwrap();
        writer.shutdown(std::net::Shutdown::Write).unwrap();
    });
    let mut received = Vec::new();
    stream.read_to_end(&mut received).unwrap();
    assert!(received == sent);
    assert!(started.elapsed() >= 2 * latency);
    assert_eq!(shim.connections(), 1);
}

#[test]
fn a_limited_stream_keeps_to_its_rate() {
    let shim = start(LinkSchedule::default().with_bandwidth(200_000));
    let mut stream = TcpStream::connect(shim.address()).unwrap();
    let started = Instant::now();
    stream.write_all(&[7; 60_000]).unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    let mut received = Vec::new();
    stream.read_to_end(&mut received).unwrap();
    assert_eq!(received.len(), 60_000);
    assert!(
        started.elapsed() >= Duration::from_millis(290),
        "{:?}",
        started.elapsed()
    );
}

#[test]
fn a_stream_breaks_when_the_schedule_says_so() {
    let shim = start(LinkSchedule::default().with_loss(1.0));
    let mut stream = TcpStream::connect(shim.address()).unwrap();
    stream.write_all(b"hello").unwrap();
    let mut received = Vec::new();
    let _ = stream.read_to_end(&mut received);
    assert!(received.is_empty());
}

#[test]
fn connections_end_with_the_shim() {
    let shim = start(LinkSchedule::default());
    let mut stream = TcpStream::connect(shim.address()).unwrap();
    stream.write_all(b"x").unwrap();
    stream.read_exact(&mut [0]).unwrap();
    let address = shim.address();
    drop(shim);
    assert_eq!(stream.read(&mut [0]).unwrap_or(0), 0);
    assert!(TcpStream::connect(address).is_err());
}

#[test]
fn datagrams_are_lost_and_doubled_by_share() {
    let server = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    server
        .set_read_timeout(Some(Duration::from_millis(500)))
        .unwrap();
    let link = LinkSchedule::default()
        .with_loss(0.5)
        .with_duplicates(0.5)
        .with_seed(3);
    let local = Ipv4Addr::LOCALHOST.into();
    let shim = UdpShim::start(local, server.local_addr().unwrap(), link).unwrap();
    let client = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    for number in 0..200u8 {
        client.send_to(&[number], shim.address()).unwrap();
    }
    let mut times = [0u8; 200];
    let mut from = None;
    let mut buffer = [0; 16];
    while let Ok((1, sender)) = server.recv_from(&mut buffer) {
        times[usize::from(buffer[0])] += 1;
        from = Some(sender);
    }
    for (count, range) in [(0, 70..130), (1, 25..80), (2, 25..80)] {
        let share = times.iter().filter(|times| **times == count).count();
        assert!(range.contains(&share), "{share} arrived {count} times");
    }
    shim.set_link(LinkSchedule::default());
    server.send_to(b"answer", from.unwrap()).unwrap();
    client
        .set_read_timeout(Some(Duration::from_secs(5)))
        .unwrap();
    assert_eq!(client.recv(&mut buffer).unwrap(), 6);
}
