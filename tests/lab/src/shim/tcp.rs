//! A TCP relay.

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::LinkSchedule;
use super::schedule::Fates;
use crate::LabError;

/// A TCP relay to one target, with a bad link in between. Gone when dropped,
/// its connections included.
#[derive(Debug)]
pub struct TcpShim {
    address: SocketAddr,
    shared: Arc<Shared>,
    acceptor: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    target: SocketAddr,
    link: Mutex<LinkSchedule>,
    stopped: AtomicBool,
    connections: AtomicU64,
    streams: Mutex<Vec<TcpStream>>,
}

impl TcpShim {
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
        let listener = TcpListener::bind((address, 0)).map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let shared = Arc::new(Shared {
            target,
            link: Mutex::new(link),
            stopped: AtomicBool::new(false),
            connections: AtomicU64::new(0),
            streams: Mutex::default(),
        });
        let relay = Arc::clone(&shared);
        let acceptor = std::thread::spawn(move || relay.accept(&listener));
        Ok(Self {
            address,
            shared,
            acceptor: Some(acceptor),
        })
    }

    /// Where to dial.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// How many connections were relayed so far.
    #[must_use]
    pub fn connections(&self) -> u64 {
        self.shared.connections.load(Ordering::Relaxed)
    }

    /// Changes the link, for pieces from now on.
    pub fn set_link(&self, link: LinkSchedule) {
        *self
            .shared
            .link
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = link;
    }

    /// Breaks all connections; new ones are accepted.
    pub fn break_connections(&self) {
        let mut streams = self
            .shared
            .streams
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        for stream in streams.drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

impl Drop for TcpShim {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::Release);
        // Wakes the acceptor.
        let _ = TcpStream::connect_timeout(&self.address, Duration::from_secs(1));
        if let Some(acceptor) = self.acceptor.take() {
            let _ = acceptor.join();
        }
        self.break_connections();
    }
}

impl Shared {
    fn accept(self: &Arc<Self>, listener: &TcpListener) {
        for client in listener.incoming() {
            if self.stopped.load(Ordering::Acquire) {
                return;
            }
            let Ok(client) = client else { continue };
            let shared = Arc::clone(self);
            // The target may take its time: the next client does not wait for it.
            std::thread::spawn(move || drop(shared.relay(&client)));
        }
    }

    fn relay(self: &Arc<Self>, client: &TcpStream) -> std::io::Result<()> {
        let number = self.connections.fetch_add(1, Ordering::Relaxed);
        let server = TcpStream::connect_timeout(&self.target, Duration::from_secs(10))?;
        client.set_nodelay(true)?;
        server.set_nodelay(true)?;
        {
            let mut streams = self.streams.lock().unwrap_or_else(PoisonError::into_inner);
            streams.extend([client.try_clone()?, server.try_clone()?]);
        }
        if self.stopped.load(Ordering::Acquire) {
            client.shutdown(Shutdown::Both)?;
        }
        self.pump(client.try_clone()?, server.try_clone()?, number, 0);
        self.pump(server, client.try_clone()?, number, 1);
        Ok(())
    }

    /// Reads in one thread and writes, when the time has come, in another.
    fn pump(self: &Arc<Self>, from: TcpStream, to: TcpStream, number: u64, direction: u64) {
        let (sender, receiver) = sync_channel(64);
        let shared = Arc::clone(self);
        std::thread::spawn(move || shared.read(from, &sender, number, direction));
        std::thread::spawn(move || write(to, &receiver));
    }

    fn read(&self, mut from: TcpStream, sender: &SyncSender<Piece>, number: u64, direction: u64) {
        let seed = self.link().seed;
        let mut fates = Fates::new(seed, number, direction);
        let mut free = Instant::now();
        let mut buffer = vec![0; 16 * 1024];
        loop {
            let read = from.read(&mut buffer).unwrap_or(0);
            let link = self.link();
            let fate = fates.draw(&link);
            if fate.lost && read > 0 {
                let _ = from.shutdown(Shutdown::Both);
                let _ = sender.send(Piece {
                    due: Instant::now(),
                    bytes: Vec::new(),
                    broken: true,
                });
                return;
            }
            // A piece goes out when the link is free, and never overtakes.
            let now = Instant::now();
            let wire = link.bandwidth.map_or(Duration::ZERO, |rate| {
                Duration::from_secs_f64(read as f64 / rate.max(1) as f64)
            });
            free = free.max(now) + wire;
            let due = free.max(now + wire + fate.delay);
            let piece = Piece {
                due,
                bytes: buffer[..read].to_vec(),
                broken: false,
            };
            if sender.send(piece).is_err() || read == 0 {
                return;
            }
        }
    }

    fn link(&self) -> LinkSchedule {
        self.link
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

/// What travels; no bytes mean the end of the stream.
#[derive(Debug)]
struct Piece {
    due: Instant,
    bytes: Vec<u8>,
    broken: bool,
}

fn write(mut to: TcpStream, receiver: &Receiver<Piece>) {
    while let Ok(piece) = receiver.recv() {
        std::thread::sleep(piece.due.saturating_duration_since(Instant::now()));
        if piece.broken {
            let _ = to.shutdown(Shutdown::Both);
            return;
        }
        if piece.bytes.is_empty() {
            let _ = to.shutdown(Shutdown::Write);
            return;
        }
        if to.write_all(&piece.bytes).is_err() {
            return;
        }
    }
}
