mod changing;
mod keeping;
mod reading;
mod writing;

use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use futures::{StreamExt, stream::FuturesUnordered};
use longshore_core::{BoxFuture, ClockExt};
use tokio::sync::mpsc;

use self::reading::Stop;
use super::{
    Shared,
    admit::Onlooker,
    liveness::Liveness,
    receipts::Receipts,
    refill::{Acknowledged, Refills},
    socket::{self, Sending, Socket},
};
use crate::{
    protocol::{Closing, Decoder, Encoder, Outgoing},
    session::{Attachment, Rate},
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

/// The way to a client, for messages and for pings between them.
type Shareable<'a> = tokio::sync::Mutex<&'a mut Sending>;

/// What a connection's end may come from: with how it is closed, or why not by the writing side.
type Side<'a> = BoxFuture<'a, Result<Option<Closing>, Stop>>;

/// What the two directions of a connection know of each other.
struct Between {
    life: Liveness,
    acknowledged: Acknowledged,
    receipts: Mutex<Receipts>,
    pongs: mpsc::Sender<u64>,
    /// How many changes of who writes the client may still ask for.
    changes: Mutex<Rate>,
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
        let (pongs, asked) = mpsc::channel(MOST_PONGS);
        let between = Between {
            life: Liveness::new(&self.shared.options, clock.now()),
            acknowledged: Acknowledged::default(),
            receipts: Mutex::default(),
            pongs,
            changes: Mutex::new(changing::allowance(clock.now())),
        };
        let stop = {
            // Of ten thousand clients that do nothing each answers a ping now and then: only the side
            // that was woken is looked at.
            let sending = Shareable::new(&mut sending);
            let mut sides = FuturesUnordered::<Side<'_>>::new();
            let write = self.write(&sending, &encoder, first, asked, &between);
            sides.push(Box::pin(async { Ok(write.await) }));
            let read = self.read(&mut receiving, &mut *decoder, &between);
            sides.push(Box::pin(async { Err(read.await) }));
            if self.pings {
                let kept = self.keep(&sending, &encoder, &between);
                sides.push(Box::pin(async {
                    kept.await;
                    Err(Stop::Gone)
                }));
            }
            if let Some(onlooker) = self.onlooker {
                let barred = onlooker.lapsed(self.shared);
                sides.push(Box::pin(async { Err(Stop::Barred(barred.await)) }));
            }
            sides.next().await.unwrap_or(Ok(None))
        };
        match stop {
            Ok(Some(closing)) => {
                // Whoever acknowledges says that it has heard the end, and closes by itself.
                let confirms =
                    self.attachment.end().is_some() && lock(&encoder).client_acknowledges();
                if confirms {
                    let read = self.read(&mut receiving, &mut *decoder, &between);
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
                if self.send_on(&mut sending, &mut out).await.is_ok() {
                    let closing = out.closing.unwrap_or_else(|| Closing::new(1008, "refused"));
                    socket::close(&mut sending, Some(&mut receiving), closing, limit, clock).await;
                }
            }
        }
    }
}

fn lock<T>(shared: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

const MOST_PONGS: usize = 16;
