use std::{
    future::pending,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use futures::{SinkExt, StreamExt};
use longshore_core::{ClockExt, Error, ErrorKind, Result, Timestamp};
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::{Error as WsError, Message};

use super::{
    Shared,
    admit::Onlooker,
    refill::{Acknowledged, PIECE, Refill, Refills},
    socket::{self, Receiving, Sending, Socket},
};
use crate::{
    protocol::{Closing, Command, Decoder, Encoder, Incoming, Outgoing, Refusal},
    session::{Attachment, GapCause, ViewerEvent},
};

/// Carries messages between a client and its session until one of them ends.
pub(super) struct Pump<'a> {
    pub(super) shared: &'a Shared,
    pub(super) attachment: &'a Attachment,
    /// Whether the connection is asked whether it lives.
    pub(super) pings: bool,
    /// Whose leave to look on may end.
    pub(super) onlooker: Option<&'a Onlooker>,
    /// Whether output that is not in memory any more comes from the session's record.
    pub(super) refills: Refills,
}

/// Why the reading side stopped.
enum Stop {
    /// The connection is gone, or the client has closed it.
    Gone,
    Refused(Refusal),
    Broken(Closing),
    Barred(Closing),
    Left,
}

impl Pump<'_> {
    /// Runs to the end of the connection, and closes it.
    pub(super) async fn run(
        self,
        socket: Socket,
        mut decoder: Box<dyn Decoder>,
        encoder: Box<dyn Encoder>,
        first: Vec<Bytes>,
    ) {
        let clock = &*self.shared.clock;
        let limit = self.shared.options.close_limit;
        let (mut sending, mut receiving) = socket.split();
        let encoder = Mutex::new(encoder);
        let unanswered = Unanswered::default();
        let acknowledged = Acknowledged::default();
        let (pongs, asked) = mpsc::channel(MOST_PONGS);
        let stop = {
            let waits = (&unanswered, &acknowledged);
            let write = self.write(&mut sending, &encoder, first, asked, waits);
            let read = self.read(&mut receiving, &mut *decoder, &pongs, waits);
            let barred = async {
                match self.onlooker {
                    Some(onlooker) => onlooker.lapsed(self.shared).await,
                    None => pending().await,
                }
            };
            tokio::select! {
                stop = read => Err(stop),
                closing = write => Ok(closing),
                closing = barred => Err(Stop::Barred(closing)),
            }
        };
        match stop {
            Ok(Some(closing)) => {
                // Whoever acknowledges says that it has heard the end, and closes by itself.
                let confirms =
                    self.attachment.end().is_some() && lock(&encoder).client_acknowledges();
                if confirms {
                    let waits = (&unanswered, &acknowledged);
                    let read = self.read(&mut receiving, &mut *decoder, &pongs, waits);
                    let _ = clock.timeout(limit, "the end's answer", read).await;
                }
                let rest = (!confirms).then_some(&mut receiving);
                socket::close(&mut sending, rest, closing, limit, clock).await;
            }
            Ok(None) | Err(Stop::Gone) => {}
            Err(Stop::Left) => {
                let closing = Closing::new(1000, "");
                socket::close(&mut sending, Some(&mut receiving), closing, limit, clock).await;
            }
            Err(Stop::Barred(closing)) => {
                socket::close(&mut sending, Some(&mut receiving), closing, limit, clock).await;
            }
            Err(Stop::Broken(closing)) => {
                // What follows in the stream can't be understood any more.
                socket::close(&mut sending, None, closing, limit, clock).await;
            }
            Err(Stop::Refused(refusal)) => {
                let mut out = Outgoing::default();
                lock(&encoder).refuse(&refusal, &mut out);
                if self.send(&mut sending, &mut out).await.is_ok() {
                    let closing = out.closing.unwrap_or_else(|| Closing::new(1008, "refused"));
                    socket::close(&mut sending, Some(&mut receiving), closing, limit, clock).await;
                }
            }
        }
    }

    /// Reads while there is somewhere to put what is read. Pings are answered by the WebSocket
    /// layer as soon as they are read.
    async fn read(
        &self,
        receiving: &mut Receiving,
        decoder: &mut dyn Decoder,
        pongs: &mpsc::Sender<u64>,
        (unanswered, acknowledged): (&Unanswered, &Acknowledged),
    ) -> Stop {
        loop {
            let incoming = match receiving.next().await {
                None => return Stop::Gone,
                Some(Err(WsError::ConnectionClosed | WsError::AlreadyClosed | WsError::Io(_))) => {
                    return Stop::Gone;
                }
                Some(Err(error)) => {
                    return socket::closing_for(&error).map_or(Stop::Gone, Stop::Broken);
                }
                Some(Ok(Message::Close(_))) => return Stop::Gone,
                Some(Ok(Message::Binary(bytes))) => Incoming {
                    bytes,
                    is_text: false,
                },
                Some(Ok(Message::Text(text))) => Incoming {
                    bytes: text.into(),
                    is_text: true,
                },
                // Whatever comes shows that the client lives.
                Some(Ok(_)) => {
                    unanswered.clear();
                    continue;
                }
            };
            unanswered.clear();
            let command = match decoder.decode(incoming) {
                Ok(command) => command,
                Err(refusal) => return Stop::Refused(refusal),
            };
            if let Command::Acknowledge(offset) = &command {
                acknowledged.up_to(*offset);
            }
            // While the process takes no input nothing is read, so no answer is either.
            unanswered.set_reading(false);
            let applied = self.apply(command, pongs).await;
            unanswered.set_reading(true);
            match applied {
                Ok(true) => {}
                Ok(false) => return Stop::Left,
                Err(error) => {
                    let hole = error.context("fault") == Some("input-hole");
                    let code = if hole { 4002 } else { 4000 };
                    return Stop::Refused(Refusal { code, error });
                }
            }
        }
    }

    /// Does what a client wants; `false` when it leaves.
    async fn apply(&self, command: Command, pongs: &mpsc::Sender<u64>) -> Result<bool> {
        let attachment = self.attachment;
        match command {
            Command::Input(None, bytes) => match attachment.send(bytes).await {
                // Input behind its end is no reason to lose the output.
                Err(error) if error.kind() == ErrorKind::Protocol => {}
                other => other?,
            },
            Command::Input(offset, bytes) => attachment.receive(offset, bytes)?,
            Command::InputEnd(offset) => attachment.end_input(offset)?,
            Command::Resize(size) => attachment.resize(size),
            Command::Signal(signal) => attachment.signal(signal),
            Command::Acknowledge(offset) => attachment.acknowledge(offset)?,
            Command::Pause(paused) => attachment.set_paused(paused),
            Command::Detach => return Ok(false),
            Command::End => attachment.release(),
            Command::Ping(token) => pongs
                .try_send(token)
                .map_err(|_| Error::protocol("more pings than answers can be sent"))?,
            Command::Ignore => {}
        }
        Ok(true)
    }

    /// Writes what the session tells; `None` when the connection can't be written to.
    async fn write(
        &self,
        sending: &mut Sending,
        encoder: &Mutex<Box<dyn Encoder>>,
        first: Vec<Bytes>,
        mut asked: mpsc::Receiver<u64>,
        (unanswered, acknowledged): (&Unanswered, &Acknowledged),
    ) -> Option<Closing> {
        let clock = &*self.shared.clock;
        let options = &self.shared.options;
        let mut out = Outgoing {
            messages: first,
            closing: None,
        };
        let mut next_ping = clock.now().after(options.ping);
        let mut flush_at: Option<Timestamp> = None;
        let mut refill: Option<Refill> = None;
        let mut refills = self.refills;
        loop {
            self.send(sending, &mut out).await.ok()?;
            if let Some(closing) = out.closing {
                return Some(closing);
            }
            let held = async {
                match flush_at {
                    Some(at) => clock.sleep_until(at).await,
                    None => pending().await,
                }
            };
            // Nobody waits for a record to be read to its end, and it is not read on by who may not any
            // more.
            let cut = async {
                tokio::select! {
                    () = self.shared.shutdown.requested() => {}
                    () = self.attachment.barred() => {}
                }
            };
            let room = refill
                .as_ref()
                .is_some_and(|refill| acknowledged.has_room(refill.offset()));
            tokio::select! {
                event = next(&mut refill, self.attachment), if room => match event {
                    Some(event) => {
                        let mut encoder = lock(encoder);
                        encoder.event(event, &mut out);
                        flush_at = encoder.holds_back().then(|| clock.now().after(HELD_BACK));
                    }
                    None => refill = None,
                },
                () = acknowledged.changed(), if refill.is_some() => {}
                () = cut, if refill.is_some() => {
                    if let Some(gap) = refill.take().and_then(|mut refill| refill.give_up()) {
                        lock(encoder).event(gap, &mut out);
                    }
                }
                event = self.attachment.next(), if refill.is_none() => {
                    let event = event?;
                    if let ViewerEvent::Gap { from, to, cause: GapCause::Trimmed } = event {
                        acknowledged.up_to(from);
                        if refills.begin() {
                            refill = self.refill(from, to).await;
                        }
                        if refill.is_some() {
                            continue;
                        }
                    }
                    let consumed = match &event {
                        ViewerEvent::Output { offset, bytes, .. } => Some(offset + bytes.len() as u64),
                        _ => None,
                    };
                    let acknowledges = {
                        let mut encoder = lock(encoder);
                        encoder.event(event, &mut out);
                        flush_at = encoder.holds_back().then(|| clock.now().after(HELD_BACK));
                        encoder.client_acknowledges()
                    };
                    if let Some(offset) = consumed.filter(|_| !acknowledges) {
                        self.send(sending, &mut out).await.ok()?;
                        self.attachment.acknowledge(offset).ok()?;
                    }
                }
                Some(token) = asked.recv() => lock(encoder).pong(token, &mut out),
                () = held => {
                    flush_at = None;
                    lock(encoder).flush(&mut out);
                }
                () = clock.sleep_until(next_ping), if self.pings => {
                    next_ping = clock.now().after(options.ping);
                    if unanswered.count() > options.missed {
                        tracing::debug!("a client does not answer any more");
                        return None;
                    }
                    // Directly before a data message: LAIN's stock client blocks behind a ping
                    // until it has one.
                    self.message(sending, Message::Ping(Bytes::new())).await.ok()?;
                    lock(encoder).keepalive(&mut out);
                }
            }
        }
    }

    /// What is missing, where there is a record of it.
    async fn refill(&self, from: u64, to: u64) -> Option<Refill> {
        let records = self.shared.records.as_deref()?;
        let session = &self.attachment.ready().session;
        let limit = self.shared.options.admit_limit;
        let opened = Refill::open(records, session, from, to);
        let opened = self.shared.clock.timeout(limit, "the record", opened).await;
        opened
            .and_then(|opened| opened)
            .inspect_err(|error| {
                tracing::debug!(
                    error = error.chain(),
                    "a session has no record to go on with"
                );
            })
            .ok()
    }

    /// Each message is flushed by itself, so that each has a TLS record of its own.
    async fn send(&self, sending: &mut Sending, out: &mut Outgoing) -> Result<()> {
        for message in out.messages.drain(..) {
            self.message(sending, Message::Binary(message)).await?;
        }
        Ok(())
    }

    async fn message(&self, sending: &mut Sending, message: Message) -> Result<()> {
        let limit = self.shared.options.write_limit;
        let sent = self
            .shared
            .clock
            .timeout(limit, "sending", sending.send(message));
        sent.await?
            .map_err(|error| Error::closed("the connection is gone").with_source(error))
    }
}

/// At the pace of the session, as if it came from its log. Cancel safe.
async fn next(refill: &mut Option<Refill>, attachment: &Attachment) -> Option<ViewerEvent> {
    let Some(refill) = refill else {
        return pending().await;
    };
    let mut allowance = attachment.allowance(PIECE).await;
    let event = refill.next(allowance.bytes()).await;
    if let Some(ViewerEvent::Output { bytes, .. }) = &event {
        allowance.spend(bytes.len());
    }
    event
}

/// The pings that were not answered yet, while answers are read.
#[derive(Default)]
struct Unanswered {
    pings: AtomicU32,
    not_reading: AtomicBool,
}

impl Unanswered {
    fn clear(&self) {
        self.pings.store(0, Ordering::Relaxed);
    }

    fn set_reading(&self, reads: bool) {
        self.not_reading.store(!reads, Ordering::Relaxed);
        self.clear();
    }

    /// One more; how many there are.
    fn count(&self) -> u32 {
        if self.not_reading.load(Ordering::Relaxed) {
            return 0;
        }
        self.pings.fetch_add(1, Ordering::Relaxed) + 1
    }
}

fn lock<'a>(encoder: &'a Mutex<Box<dyn Encoder>>) -> std::sync::MutexGuard<'a, Box<dyn Encoder>> {
    encoder.lock().unwrap_or_else(PoisonError::into_inner)
}

const MOST_PONGS: usize = 16;
const HELD_BACK: Duration = Duration::from_millis(50);
