//! Between a person and a session: bytes both ways, sizes, signals, the state of the connection.

use futures::{FutureExt, StreamExt, stream, stream::FuturesUnordered};
use longshore::{
    ErrorKind, ExecSession,
    core::{BoxFuture, ExecOutputStream, OutputKind},
    exec::{
        client::{Company, RemoteSession},
        session::ViewerId,
    },
};
use rustix::process::{Signal, getpid, kill_process};
use tokio::{
    io::{AsyncWriteExt, stderr, stdout},
    signal::unix::{self, SignalKind},
    sync::mpsc,
};

use super::{
    escape::{Escape, Typed},
    input::{self, Stdin},
    people::{self, People},
    signals::Signals,
    status::Status,
};
use crate::{
    Failure,
    say::{note, unwritten},
    terminal::{self, RawTerminal},
};

/// Why it is over.
pub enum Over {
    /// The session ended, and all its output was shown.
    Ended,
    /// Somebody wants to leave.
    Left,
    /// This signal wants us to leave.
    Signalled(u8),
    /// Our own side is broken.
    Failed(Failure),
}

/// Why it is over, and whether there is a connection then.
pub struct Parting {
    pub over: Over,
    pub is_connected: bool,
}

/// What a conversation needs of this side.
pub struct Here<'a> {
    pub stdin: Stdin,
    pub raw: Option<&'a RawTerminal>,
    /// What leaving does.
    pub leaving: &'a str,
    /// Whether the session is somebody else's.
    pub looks_on: bool,
}

/// Until one of the sides has enough.
pub async fn converse(
    session: &RemoteSession,
    escape: Escape,
    here: Here<'_>,
    signals: &mut Signals,
) -> Parting {
    let mut is_connected = true;
    let over = carry(session, escape, here, signals, &mut is_connected).await;
    Parting { over, is_connected }
}

async fn carry(
    session: &RemoteSession,
    escape: Escape,
    Here {
        stdin,
        raw,
        leaving,
        looks_on,
    }: Here<'_>,
    signals: &mut Signals,
    is_connected: &mut bool,
) -> Over {
    let mut resized = match unix::signal(SignalKind::window_change()) {
        Ok(resized) => resized,
        Err(error) => return Over::Failed(error.into()),
    };
    let (help, way_out) = (escape.help(stdin, leaving, !looks_on), escape.way_out());
    let key = escape.name();
    let key = key.as_deref();
    let (commands, mut commanded) = mpsc::channel(16);
    let is_taken = || session.company().may_write;
    let typing = input::forward(session.take_input(), escape, stdin, is_taken, commands);
    let showing = show(session.take_output(), raw);
    let mut status = Status::default();
    let mut links = session.links();
    let mut companies = session.companies();
    let mut people = People::default();
    // Of a company that was known before anybody listened.
    meet(raw, &mut people, &session.company(), key);
    let mut has_refused = false;
    let mut passing = FuturesUnordered::<BoxFuture<'_, longshore::Result<()>>>::new();
    let notices = session.take_notices();
    let mut notices = notices.unwrap_or_else(|| Box::pin(stream::empty()));
    tokio::pin!(typing, showing);
    loop {
        tokio::select! {
            shown = &mut showing => return match shown {
                Ok(()) => Over::Ended,
                Err(failure) => Over::Failed(failure),
            },
            () = &mut typing => {}
            signal = signals.next() => return Over::Signalled(signal),
            _ = resized.recv() => resize(session, raw),
            Some(command) = commanded.recv() => match command {
                Typed::Leave => return Over::Left,
                Typed::Suspend => {
                    suspend(raw);
                    resize(session, raw);
                }
                Typed::Help => note(format_args!("{help}\r")),
                Typed::Who => tell(raw, &people::list(&session.company(), key)),
                Typed::Give(to) => passing.push(Box::pin(session.grant(ViewerId::new(to)))),
                Typed::TakeBack => passing.push(Box::pin(session.take_back())),
                // It was not taken. Once is enough, until something changes.
                Typed::Bytes(_) if has_refused => {}
                Typed::Bytes(_) => {
                    has_refused = true;
                    tell(raw, &people::refusal(&session.company(), key));
                }
            },
            Some(passed) = passing.next() => if let Err(error) = passed {
                tell(raw, error.message());
            },
            Some(company) = companies.next() => {
                has_refused = false;
                meet(raw, &mut people, &company, key);
            }
            Some(notice) = notices.next() => if !people.tells(&notice.code) {
                tell(raw, &notice.text);
            },
            Some(link) = links.next() => {
                if let Some(text) = status.of(&link, &way_out) {
                    tell(raw, &text);
                }
                let was_connected = std::mem::replace(is_connected, status.is_connected());
                if *is_connected && !was_connected {
                    resize(session, raw);
                }
            }
        }
    }
}

/// Says who came and left, and who types now.
fn meet(raw: Option<&RawTerminal>, people: &mut People, company: &Company, key: Option<&str>) {
    for text in people.of(company, key) {
        tell(raw, &text);
    }
}

/// Shows what comes. Its end is the end of all output.
async fn show(output: Option<ExecOutputStream>, raw: Option<&RawTerminal>) -> Result<(), Failure> {
    let Some(mut output) = output else {
        return Ok(());
    };
    let (mut out, mut err) = (stdout(), stderr());
    while let Some(piece) = output.next().await {
        match piece {
            Ok(piece) if piece.kind == OutputKind::Stdout => {
                let written = out.write_all(&piece.bytes).await;
                written.map_err(|error| unwritten(&error))?;
                out.flush().await.map_err(|error| unwritten(&error))?;
            }
            Ok(piece) => {
                // As for every note: nothing can be said of a failure.
                let _ = err.write_all(&piece.bytes).await;
                let _ = err.flush().await;
            }
            // A gap. What follows it is still of use.
            Err(error) if error.kind() == ErrorKind::ResourceExhausted => {
                tell(raw, &format!("warning: {error}"));
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// While the connection is lost nothing waits for it: the size is told again when it is back.
fn resize(session: &RemoteSession, raw: Option<&RawTerminal>) {
    if raw.is_some() {
        let _ = session.resize(terminal::size()).now_or_never();
    }
}

/// Gives the terminal to the shell that started us, until it wants us back.
fn suspend(raw: Option<&RawTerminal>) {
    if let Some(raw) = raw {
        let _ = raw.suspend();
        let _ = kill_process(getpid(), Signal::TSTP);
        let _ = raw.resume();
    }
}

/// Says something beside the stream. In raw mode a line begins only where it is told to.
fn tell(raw: Option<&RawTerminal>, text: &str) {
    match raw {
        Some(_) => note(format_args!("\r\nplatform: {text}\r")),
        None => note(format_args!("platform: {text}")),
    }
}
