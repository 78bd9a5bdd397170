//! Stubs in front of scripted programs: those that are started for a session, and those that wait.

use std::{
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures::StreamExt;
use longshore_core::{ExecBackend, ExecRequest, ExecSession, OutputKind, Signal, TerminalSize};
use longshore_exec_stub::{Decoder, Ending, FromStub, Opening, SILENCE, ToStub, VERSION};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream, ReadHalf, WriteHalf},
    sync::Notify,
};

use super::{Daemon, framed};

/// How those that wait behave.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Mood {
    #[default]
    Good,
    /// It answers no beat.
    Deaf,
    /// It answers each beat after a while.
    Slow,
    /// It never says a word.
    Mute,
    /// It says much that nobody asked for, and then what it should.
    Loud,
    /// It says nothing once it was told what to become.
    Silent,
    /// It leaves without a word then.
    Leaving,
    Declining,
}

#[derive(Default)]
pub(crate) struct Stubs {
    there: AtomicBool,
    pub(crate) paused: AtomicBool,
    pub(crate) mood: Mutex<Mood>,
    /// How many wait.
    pub(crate) waiting: AtomicUsize,
    /// What they were told to become.
    pub(crate) openings: Mutex<Vec<Opening>>,
    /// Ends those that wait.
    pub(crate) killed: Notify,
}

impl Stubs {
    /// Whether the engine takes files, and runs stubs.
    pub(crate) fn allow(&self) {
        self.there.store(true, Ordering::SeqCst);
    }

    pub(super) fn are_there(&self) -> bool {
        self.there.load(Ordering::SeqCst)
    }

    pub(super) fn is_paused(&self) -> bool {
        self.paused.load(Ordering::SeqCst)
    }

    fn mood(&self) -> Mood {
        *self.mood.lock().unwrap()
    }
}

/// The stub's side of its stream.
struct Wire {
    read: ReadHalf<DuplexStream>,
    write: WriteHalf<DuplexStream>,
    decoder: Decoder<ToStub>,
}

impl Wire {
    async fn say(&mut self, message: FromStub) {
        let mut bytes = Vec::new();
        message.write(&mut bytes);
        let bytes = framed(OutputKind::Stdout, &bytes, false);
        let _ = self.write.write_all(&bytes).await;
    }

    /// The next message; `None` at the end, and after silence.
    async fn next(&mut self) -> Option<ToStub> {
        let mut buffer = [0; 4096];
        loop {
            if let Some(message) = self.decoder.next_message().unwrap() {
                return Some(message);
            }
            let reading = tokio::time::timeout(SILENCE, self.read.read(&mut buffer));
            match reading.await {
                Ok(Ok(count)) if count > 0 => self.decoder.push(&buffer[..count]),
                _ => return None,
            }
        }
    }
}

impl Daemon {
    pub(super) async fn run_stub(&self, stream: DuplexStream, id: &str, request: ExecRequest) {
        let (read, write) = tokio::io::split(stream);
        let mut wire = Wire {
            read,
            write,
            decoder: Decoder::new(),
        };
        if request.command[1] == "wait" && self.stubs.mood() == Mood::Mute {
            while wire.next().await.is_some() {}
            return;
        }
        wire.say(FromStub::Hello(VERSION)).await;
        if request.command[1] == "wait" {
            wire.say(FromStub::Waiting).await;
            self.stubs.waiting.fetch_add(1, Ordering::SeqCst);
            let became = tokio::select! {
                became = self.wait(&mut wire, &request) => became,
                () = self.stubs.killed.notified() => None,
            };
            self.stubs.waiting.fetch_sub(1, Ordering::SeqCst);
            if let Some((request, session)) = became {
                self.begun(id, request, &session);
                wire.say(FromStub::Hello(VERSION)).await;
                converse(wire, &*session).await;
            }
            return;
        }
        let delay = self.delay.load(Ordering::SeqCst);
        tokio::time::sleep(Duration::from_millis(delay)).await;
        let request = session_of(&request, &request.command[1..]);
        match self.exec.exec(&request).await {
            Ok(session) => {
                self.begun(id, request, &session);
                converse(wire, &*session).await;
            }
            Err(error) => {
                wire.say(failed(&error)).await;
                wire.say(FromStub::Cleaned { killed: 0, left: 0 }).await;
            }
        }
    }

    /// What it became.
    async fn wait(
        &self,
        wire: &mut Wire,
        request: &ExecRequest,
    ) -> Option<(ExecRequest, std::sync::Arc<dyn ExecSession>)> {
        loop {
            match wire.next().await? {
                ToStub::Beat if self.stubs.mood() == Mood::Deaf => {}
                ToStub::Beat => {
                    match self.stubs.mood() {
                        Mood::Slow => tokio::time::sleep(Duration::from_millis(1500)).await,
                        Mood::Loud => {
                            let bytes = framed(OutputKind::Stderr, b"", false).repeat(4000);
                            let _ = wire.write.write_all(&bytes).await;
                        }
                        _ => {}
                    }
                    wire.say(FromStub::Waiting).await;
                }
                ToStub::Open(opening) => {
                    self.stubs.openings.lock().unwrap().push(opening.clone());
                    match self.stubs.mood() {
                        Mood::Silent => return std::future::pending().await,
                        Mood::Leaving => return None,
                        Mood::Declining => {
                            wire.say(FromStub::Declined("not today".to_owned())).await;
                            return None;
                        }
                        _ => {}
                    }
                    let mut wanted = request.clone();
                    for pair in opening.environment {
                        let (name, _) = pair.split_once('=').unwrap();
                        let same = format!("{name}=");
                        wanted.env.retain(|pair| !pair.starts_with(&same));
                        wanted.env.push(pair);
                    }
                    let wanted = session_of(&wanted, &opening.arguments);
                    match self.exec.exec(&wanted).await {
                        Ok(session) => return Some((wanted, session)),
                        Err(error) => wire.say(failed(&error)).await,
                    }
                }
                ToStub::End => return None,
                other => panic!("{other:?}"),
            }
        }
    }
}

fn failed(error: &longshore_core::Error) -> FromStub {
    FromStub::Failed {
        code: 127,
        reason: error.to_string(),
    }
}

/// What a stub with these arguments runs.
fn session_of(engine: &ExecRequest, arguments: &[String]) -> ExecRequest {
    let mut request = engine.clone();
    (request.tty, request.stdin) = (false, true);
    let mut words = arguments.iter().map(String::as_str);
    assert_eq!(words.next(), Some("session"));
    loop {
        match words.next().unwrap() {
            "--" => break,
            "--no-input" => request.stdin = false,
            "--keep" => {}
            "--user" => request.user = words.next().unwrap().to_owned(),
            "--tty" => {
                let (columns, rows) = words.next().unwrap().split_once('x').unwrap();
                let size = TerminalSize::new(columns.parse().unwrap(), rows.parse().unwrap());
                (request.tty, request.size) = (true, Some(size));
            }
            other => panic!("{other}"),
        }
    }
    request.command = words.map(str::to_owned).collect();
    request
}

/// Moves a session's bytes, without windows, and ends it with its stream.
async fn converse(mut wire: Wire, session: &dyn ExecSession) {
    wire.say(FromStub::Started).await;
    let mut output = session.take_output().unwrap();
    let mut input = session.take_input();
    let mut listens = true;
    loop {
        tokio::select! {
            biased;
            message = wire.next(), if listens => match message {
                Some(ToStub::Input(bytes)) => {
                    if let Some(input) = &mut input {
                        let _ = input.write_all(&bytes).await;
                    }
                    let count = u32::try_from(bytes.len()).unwrap();
                    wire.say(FromStub::Taken(count)).await;
                }
                Some(ToStub::InputEnd) => input = None,
                Some(ToStub::Signal(number)) => {
                    let signal = Signal::new(number).unwrap();
                    let _ = session.signal(signal).await;
                }
                Some(ToStub::Resize { columns, rows }) => {
                    let _ = session.resize(TerminalSize::new(columns, rows)).await;
                }
                Some(ToStub::End) | None => {
                    let _ = session.signal(Signal::KILL).await;
                    listens = false;
                }
                Some(_) => {}
            },
            piece = output.next() => match piece {
                Some(Ok(piece)) if piece.kind == OutputKind::Stderr => {
                    wire.say(FromStub::Errors(piece.bytes.to_vec())).await;
                }
                Some(Ok(piece)) => wire.say(FromStub::Output(piece.bytes.to_vec())).await,
                _ => break,
            },
        }
    }
    let status = session.wait().await.unwrap();
    let ending = match (status.code, status.signal) {
        (_, Some(signal)) => Ending::Signal(signal.number()),
        (Some(code), None) => Ending::Code(u8::try_from(code).unwrap()),
        (None, None) => Ending::Unknown,
    };
    wire.say(FromStub::Exit(ending)).await;
    wire.say(FromStub::Cleaned { killed: 0, left: 0 }).await;
}
