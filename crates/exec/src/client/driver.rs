use std::{
    future::{pending, poll_fn},
    sync::Arc,
};

use bytes::Bytes;
use futures::{SinkExt, StreamExt};
use longshore_core::{
    Backoff, ClockExt, Error, ErrorKind, Random, Result, SessionId, Signal, TerminalSize, Timestamp,
};
use tokio::sync::{broadcast, mpsc, oneshot, watch};
use tokio_tungstenite::tungstenite::Message;

use super::{
    ClientCore, ClientEvent, Company, RemoteSession,
    answers::Answers,
    connection::{Dialler, Socket, lost, receive},
    delivery::Delivery,
    notice::Notice,
    session::{Fate, Heard, Link},
};
use crate::{protocol::native::ClientFrame, session::ViewerId};

/// What a session's user asks for.
#[derive(Debug)]
pub(super) enum Wish {
    Resize(TerminalSize),
    Signal(Signal),
    /// To whom the right to write passes; `None`: back.
    Pass(Option<ViewerId>, oneshot::Sender<Result<()>>),
    Close,
}

/// A session's driver: carries frames, dials again. What is sent when is the core's word.
pub(super) struct Driver {
    core: ClientCore,
    dialler: Dialler,
    random: Arc<dyn Random>,
    wishes: mpsc::Receiver<Wish>,
    input: Option<mpsc::Receiver<Bytes>>,
    output: Delivery,
    fate: watch::Sender<Fate>,
    link: watch::Sender<Link>,
    notices: broadcast::Sender<Notice>,
    company: watch::Sender<Company>,
    answers: Answers,
}

/// Opens a session; its driver runs in a task.
pub(super) async fn open(
    mut core: ClientCore,
    dialler: Dialler,
    random: Arc<dyn Random>,
) -> Result<RemoteSession> {
    let mut socket = join(&mut core, &dialler).await?;
    if let Err(error) = core.check_cleanup() {
        // Whatever it does with this: the connection goes, and with it the session in the end.
        let _ = socket
            .send(Message::Binary(ClientFrame::End.encode()))
            .await;
        return Err(error);
    }
    let session = core.session().unwrap_or_default();
    let id = SessionId::new(session.to_owned()).map_err(|error| {
        Error::protocol("the gateway gave a malformed session id").with_source(error)
    })?;
    let (wishes, wished) = mpsc::channel(WISHES);
    let (input, typed) = match core.has_input() {
        true => Some(mpsc::channel(PIECES)).unzip(),
        false => (None, None),
    };
    let (output, read) = mpsc::channel(PIECES);
    let (fate, told) = watch::channel(match core.looks_on() {
        // It is told of no start: the process may have run for long.
        true => Fate::Running,
        false => Fate::Starting,
    });
    let (link, links) = watch::channel(Link::Up { missed: Some(0) });
    let (notices, noticed) = broadcast::channel(NOTICES);
    let (company, companies) = watch::channel(core.company());
    let driver = Driver {
        core,
        dialler,
        random,
        wishes: wished,
        input: typed,
        output: Delivery::new(output),
        fate,
        link,
        notices,
        company,
        answers: Answers::default(),
    };
    tokio::spawn(driver.run(socket));
    let heard = Heard {
        fate: told,
        link: links,
        notices: noticed,
        company: companies,
    };
    Ok(RemoteSession::new(id, wishes, input, read, heard))
}

/// Dials, and opens or resumes.
async fn join(core: &mut ClientCore, dialler: &Dialler) -> Result<Socket> {
    let mut socket = dialler.dial().await?;
    let joined = async {
        let first = Message::Binary(core.connect().encode());
        socket.send(first).await.map_err(lost)?;
        match core.handle(receive(&mut socket).await?)? {
            ClientEvent::Ready => Ok(()),
            _ => Err(Error::protocol("the gateway's first frame is not READY")),
        }
    };
    let limit = dialler.options.connect_limit;
    dialler
        .clock
        .timeout(limit, "the gateway's READY", joined)
        .await??;
    Ok(socket)
}

impl Driver {
    async fn run(mut self, mut socket: Socket) {
        let error = loop {
            let error = match self.carry(socket).await {
                Ok(()) => {
                    self.told(None);
                    return self.output.finish().await;
                }
                Err(error) => error,
            };
            self.core.disconnected();
            self.answers.are_lost();
            if !error.is_retryable() || !self.core.can_resume() || self.fate.is_closed() {
                break error;
            }
            tracing::debug!(error = error.chain(), "an exec session lost its connection");
            self.link.send_replace(Link::Down(error.to_string()));
            match self.again().await {
                Ok(next) => {
                    self.is_up();
                    self.meet();
                    if let Some(bytes) = self.core.take_skipped() {
                        self.tell(ClientEvent::Gap(bytes));
                    }
                    socket = next;
                }
                Err(error) => break error,
            }
        };
        self.told(Some(error));
        self.output.finish().await;
    }

    /// Tells everybody how it ended.
    fn told(&mut self, error: Option<Error>) {
        let end = self.core.end().cloned();
        self.fate.send_replace(match (end, error) {
            (Some(end), _) => Fate::Ended(end),
            (None, Some(error)) => Fate::Lost(Arc::new(error)),
            (None, None) => Fate::Lost(Arc::new(Error::closed("the session was given up"))),
        });
    }

    /// Dials until the session is found again.
    async fn again(&mut self) -> Result<Socket> {
        let clock = Arc::clone(&self.dialler.clock);
        let give_up = clock.now().after(self.dialler.options.patience);
        let mut backoff = Backoff::default();
        loop {
            let error = match join(&mut self.core, &self.dialler).await {
                Ok(socket) => return Ok(socket),
                Err(error) if !error.is_retryable() => return Err(error),
                Err(error) => error,
            };
            let pause = backoff.next_delay(&*self.random);
            if clock.now().after(pause) >= give_up {
                return Err(error);
            }
            tokio::select! {
                () = clock.sleep(pause) => {}
                () = self.fate.closed() => {
                    return Err(Error::new(ErrorKind::Cancelled, "the session was given up"));
                }
            }
        }
    }

    /// One connection to its end; `Ok` when the session's end was heard.
    async fn carry(&mut self, socket: Socket) -> Result<()> {
        let clock = Arc::clone(&self.dialler.clock);
        let every = self.dialler.options.ping;
        let (mut sink, mut stream) = socket.split();
        let mut heard = clock.now();
        let mut next_ping = heard.after(every);
        let mut sending: Option<Message> = None;
        let mut flushing = false;
        loop {
            if sending.is_none() {
                sending = self
                    .core
                    .poll_frame()
                    .map(|frame| Message::Binary(frame.encode()));
            }
            if sending.is_none() && !flushing && self.core.end().is_some() {
                // The end was heard, and that was said.
                let _ = clock.timeout(every, "closing", sink.close()).await;
                return Ok(());
            }
            let room = self.core.input_room();
            let reads_input = room > 0 && self.core.end().is_none();
            tokio::select! {
                // In this order: wishes go before the keys that were typed behind them.
                biased;
                // Reading never waits for the user: the window bounds what the gateway sends.
                frame = receive(&mut stream) => {
                    heard = clock.now();
                    let unsure = self.core.missed().is_none();
                    let event = self.core.handle(frame?)?;
                    if unsure {
                        self.is_up();
                    }
                    self.tell(event);
                }
                delivered = self.output.deliver() => self.core.consumed(delivered),
                written = write(&mut sink, &mut sending, &mut flushing) => written?,
                wish = self.wishes.recv() => match wish {
                    Some(Wish::Resize(size)) => self.core.resize(size),
                    Some(Wish::Signal(signal)) => self.core.signal(signal),
                    Some(Wish::Pass(to, answer)) => match self.core.pass(to) {
                        Ok(()) => {
                            self.answers.wait(answer, clock.now().after(every));
                        }
                        // Whoever asked may have gone.
                        Err(error) => drop(answer.send(Err(error))),
                    },
                    Some(Wish::Close) if !self.core.looks_on() => {
                        self.core.close();
                        self.output.close();
                    }
                    // Nobody is there any more. Somebody else's session goes on.
                    Some(Wish::Close) | None => {
                        self.output.close();
                        let last = match self.core.looks_on() {
                            true => ClientFrame::Detach,
                            false => ClientFrame::End,
                        };
                        let last = Message::Binary(last.encode());
                        let _ = clock.timeout(every, "leaving", sink.send(last)).await;
                        return Ok(());
                    }
                },
                piece = piece(&mut self.input), if reads_input => match piece {
                    Some(bytes) if !bytes.is_empty() => self.core.write(&bytes),
                    told => {
                        self.input = None;
                        if told.is_some() || !self.core.shares_input() {
                            self.core.end_input();
                        }
                    }
                },
                () = clock.sleep_until(next_ping) => {
                    next_ping = clock.now().after(every);
                    if self.answers.give_up(clock.now()) {
                        self.core.give_up_passes();
                    }
                    if is_silent(heard, clock.now(), every) {
                        return Err(Error::unavailable("the gateway does not answer any more"));
                    }
                    if sending.is_none() {
                        sending = Some(Message::Binary(ClientFrame::Ping(0).encode()));
                    }
                }
            }
        }
    }

    fn tell(&mut self, event: ClientEvent) {
        match event {
            ClientEvent::Output(output) => {
                self.is_started();
                self.output.push(Ok(output));
            }
            ClientEvent::Gap(bytes) => self.output.push(Err(Error::new(
                ErrorKind::ResourceExhausted,
                format!("{bytes} bytes of output were missed"),
            ))),
            ClientEvent::Started => self.is_started(),
            ClientEvent::Company => self.meet(),
            ClientEvent::Passed(has_passed) => {
                self.meet();
                self.answers.come(has_passed);
            }
            ClientEvent::Notice(code, text) => {
                let notice = Notice::new(&code, &text);
                tracing::debug!(
                    code = notice.code,
                    text = notice.text,
                    "a notice of the gateway"
                );
                // Nobody has to listen.
                let _ = self.notices.send(notice);
                self.meet();
            }
            ClientEvent::Ready | ClientEvent::Ended(_) | ClientEvent::Nothing => {}
        }
    }

    /// Tells who is here, and whether we may write.
    fn meet(&self) {
        let now = self.core.company();
        self.company.send_if_modified(|company| {
            let changes = *company != now;
            if changes {
                *company = now;
            }
            changes
        });
    }

    /// Tells of the connection, and of what the last one has cost as soon as that is known.
    fn is_up(&self) {
        let now = Link::Up {
            missed: self.core.missed(),
        };
        self.link.send_if_modified(|link| {
            let changes = *link != now;
            if changes {
                link.clone_from(&now);
            }
            changes
        });
    }

    fn is_started(&self) {
        self.fate.send_if_modified(|fate| {
            let starting = matches!(fate, Fate::Starting);
            if starting {
                *fate = Fate::Running;
            }
            starting
        });
    }
}

type Sink = futures::stream::SplitSink<Socket, Message>;

/// Gives the waiting message to the sink as soon as it takes one, and then sees it out. Cancel safe.
async fn write(sink: &mut Sink, sending: &mut Option<Message>, flushing: &mut bool) -> Result<()> {
    if sending.is_some() {
        poll_fn(|context| sink.poll_ready_unpin(context))
            .await
            .map_err(lost)?;
        if let Some(message) = sending.take() {
            sink.start_send_unpin(message).map_err(lost)?;
            *flushing = true;
        }
    } else if *flushing {
        sink.flush().await.map_err(lost)?;
        *flushing = false;
    } else {
        pending::<()>().await;
    }
    Ok(())
}

async fn piece(input: &mut Option<mpsc::Receiver<Bytes>>) -> Option<Bytes> {
    match input {
        Some(input) => input.recv().await,
        None => pending().await,
    }
}

fn is_silent(heard: Timestamp, now: Timestamp, every: std::time::Duration) -> bool {
    now.since(heard) > every * 3
}

const WISHES: usize = 16;
/// Those that nobody has taken are few, and the newest.
const NOTICES: usize = 32;
const PIECES: usize = 16;
