//! A UDP relay.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::LinkSchedule;
use super::schedule::Fates;
use crate::LabError;

/// A UDP relay to one target, with a bad link in between. Datagrams may be
/// lost, doubled, delayed and so reordered. Gone when dropped.
#[derive(Debug)]
pub struct UdpShim {
    address: SocketAddr,
    shared: Arc<Shared>,
    reader: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    target: SocketAddr,
    link: Mutex<LinkSchedule>,
    stopped: AtomicBool,
}

impl UdpShim {
    /// Listens on a free port of `address` and relays to `target`.
    ///
    /// # Errors
    /// When it cannot listen.
    pub fn start(
        address: IpAddr,
        target: SocketAddr,
        link: LinkSchedule,
    ) -> Result<Self, LabError> {
        let failed = |e| LabError::io(format!("cannot listen on {address}"), e);
        let socket = UdpSocket::bind((address, 0)).map_err(failed)?;
        socket.set_read_timeout(Some(POLL)).map_err(failed)?;
        let address = socket.local_addr().map_err(failed)?;
        let shared = Arc::new(Shared {
            target,
            link: Mutex::new(link),
            stopped: AtomicBool::new(false),
        });
        let relay = Arc::clone(&shared);
        let reader = std::thread::spawn(move || relay.read_clients(&Arc::new(socket)));
        Ok(Self {
            address,
            shared,
            reader: Some(reader),
        })
    }

    /// Where to send.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Changes the link, for datagrams from now on.
    pub fn set_link(&self, link: LinkSchedule) {
        *self
            .shared
            .link
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = link;
    }
}

impl Drop for UdpShim {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::Release);
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
    }
}

impl Shared {
    /// One socket towards the target per client, as a NAT would have.
    fn read_clients(self: &Arc<Self>, socket: &Arc<UdpSocket>) {
        let mut clients: HashMap<SocketAddr, (Arc<UdpSocket>, Fates)> = HashMap::new();
        let out = postman();
        let mut buffer = vec![0; 65_536];
        while !self.stopped.load(Ordering::Acquire) {
            let Ok((size, client)) = socket.recv_from(&mut buffer) else {
                continue;
            };
            let number = clients.len() as u64;
            if let std::collections::hash_map::Entry::Vacant(entry) = clients.entry(client) {
                let Some(server) = self.open(socket, client, number) else {
                    continue;
                };
                entry.insert((server, Fates::new(self.link().seed, number, 0)));
            }
            if let Some((server, fates)) = clients.get_mut(&client) {
                self.post(&out, server, self.target, &buffer[..size], fates);
            }
        }
    }

    fn open(
        self: &Arc<Self>,
        socket: &Arc<UdpSocket>,
        client: SocketAddr,
        number: u64,
    ) -> Option<Arc<UdpSocket>> {
        let local = socket.local_addr().ok()?.ip();
        // To reach a target on loopback, or anywhere else, let the kernel choose.
        let local = if self.target.ip().is_loopback() {
            self.target.ip()
        } else {
            local
        };
        let server = Arc::new(UdpSocket::bind((local, 0)).ok()?);
        server.set_read_timeout(Some(POLL)).ok()?;
        let (shared, back, server_side) =
            (Arc::clone(self), Arc::clone(socket), Arc::clone(&server));
        std::thread::spawn(move || {
            let mut fates = Fates::new(shared.link().seed, number, 1);
            let out = postman();
            let mut buffer = vec![0; 65_536];
            while !shared.stopped.load(Ordering::Acquire) {
                if let Ok((size, _)) = server_side.recv_from(&mut buffer) {
                    shared.post(&out, &back, client, &buffer[..size], &mut fates);
                }
            }
        });
        Some(server)
    }

    fn post(
        &self,
        out: &Sender<Letter>,
        socket: &Arc<UdpSocket>,
        to: SocketAddr,
        bytes: &[u8],
        fates: &mut Fates,
    ) {
        let fate = fates.draw(&self.link());
        if fate.lost {
            return;
        }
        let due = Instant::now() + fate.delay;
        for _ in 0..=usize::from(fate.twice) {
            let _ = out.send(Letter {
                due,
                socket: Arc::clone(socket),
                to,
                bytes: bytes.into(),
            });
        }
    }

    fn link(&self) -> LinkSchedule {
        self.link
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

#[derive(Debug)]
struct Letter {
    due: Instant,
    socket: Arc<UdpSocket>,
    to: SocketAddr,
    bytes: Vec<u8>,
}

/// A thread that sends each letter when it is due.
fn postman() -> Sender<Letter> {
    let (sender, receiver) = channel();
    std::thread::spawn(move || deliver(&receiver));
    sender
}

fn deliver(receiver: &Receiver<Letter>) {
    let mut letters: HashMap<u64, Letter> = HashMap::new();
    let mut order = BinaryHeap::new();
    let mut number = 0;
    loop {
        let wait = order
            .peek()
            .map_or(POLL, |Reverse((due, _)): &Reverse<(Instant, u64)>| {
                due.saturating_duration_since(Instant::now())
            });
        match receiver.recv_timeout(wait) {
            Ok(letter) => {
                order.push(Reverse((letter.due, number)));
                letters.insert(number, letter);
                number += 1;
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        while let Some(Reverse((due, next))) = order.peek().copied() {
            if due > Instant::now() {
                break;
            }
            order.pop();
            if let Some(letter) = letters.remove(&next) {
                let _ = letter.socket.send_to(&letter.bytes, letter.to);
            }
        }
    }
}

/// How soon a stopped relay notices.
const POLL: Duration = Duration::from_millis(50);
