//! Between a person and a session: bytes both ways, sizes, signals, the state of the connection.

use futures::{FutureExt, StreamExt};
use longshore::{
    ErrorKind, ExecSession,
    core::{ExecOutputStream, OutputKind},
    exec::client::{Link, RemoteSession},
};
use rustix::process::{Signal, getpid, kill_process};
use tokio::{
    io::{AsyncWriteExt, stderr, stdout},
    signal::unix::{self, SignalKind},
    sync::mpsc,
};

use super::{
    escape::{Escape, Typed},
    input,
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

/// The signals that ask us to leave.
pub struct Signals(Vec<(u8, unix::Signal)>);

impl Signals {
    pub fn new() -> std::io::Result<Self> {
        let kinds = [
            SignalKind::hangup(),
            SignalKind::interrupt(),
            SignalKind::quit(),
            SignalKind::terminate(),
        ];
        let listen = |kind: SignalKind| {
            let number = u8::try_from(kind.as_raw_value()).unwrap_or(0);
            Ok((number, unix::signal(kind)?))
        };
        kinds
            .into_iter()
            .map(listen)
            .collect::<std::io::Result<_>>()
            .map(Self)
    }

    async fn next(&mut self) -> u8 {
        let all = self.0.iter_mut().map(|(number, signal)| {
            async move {
                signal.recv().await;
                *number
            }
            .boxed()
        });
        futures::future::select_all(all).await.0
    }
}

/// Why it is over, and whether there is a connection then.
pub struct Parting {
    pub over: Over,
    pub is_connected: bool,
}

/// Until one of the sides has enough.
pub async fn converse(
    session: &RemoteSession,
    escape: Escape,
    raw: Option<&RawTerminal>,
    signals: Signals,
) -> Parting {
    let mut is_connected = true;
    let over = carry(session, escape, raw, signals, &mut is_connected).await;
    Parting { over, is_connected }
}

async fn carry(
    session: &RemoteSession,
    escape: Escape,
    raw: Option<&RawTerminal>,
    mut signals: Signals,
    is_connected: &mut bool,
) -> Over {
    let mut resized = match unix::signal(SignalKind::window_change()) {
        Ok(resized) => resized,
        Err(error) => return Over::Failed(error.into()),
    };
    let (help, way_out) = (escape.help(), escape.way_out());
    let (commands, mut commanded) = mpsc::channel(16);
    let typing = input::forward(session.take_input(), escape, raw.is_some(), commands);
    let showing = show(session.take_output());
    let mut links = session.links();
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
                Typed::Bytes(_) => {}
            },
            Some(link) = links.next() => match link {
                Link::Up => {
                    *is_connected = true;
                    tell(raw, "connected again, and nothing was lost");
                    resize(session, raw);
                }
                Link::Down(why) => {
                    *is_connected = false;
                    tell(raw, &format!("{why}; trying to come back{way_out}"));
                }
                _ => {}
            },
        }
    }
}

/// Shows what comes. Its end is the end of all output.
async fn show(output: Option<ExecOutputStream>) -> Result<(), Failure> {
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
                note(format_args!("warning: {error}"));
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
