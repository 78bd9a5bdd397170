//! `platform replay`: a recorded session in this terminal, or in a file.

mod cast;
mod lines;
mod words;

use std::{
    io::{IsTerminal, stdin, stdout},
    sync::Arc,
    time::Duration,
};

use base64::{Engine, prelude::BASE64_STANDARD};
use futures::StreamExt;
use longshore::{
    Connector, Error, ErrorKind, Result,
    core::{BoxByteStream, ClockExt, SystemClock},
};
use serde_json::Value;
use tokio::io::{AsyncWriteExt, stderr};
use tokio_tungstenite::{
    WebSocketStream, client_async_with_config,
    tungstenite::{Error as WsError, Message, protocol::WebSocketConfig},
};

use self::{
    lines::Lines,
    words::{RESET, last_words},
};
use crate::{
    Failure,
    cli::Replay,
    client,
    enter::{
        authority,
        signals::{Signals, code_of},
    },
    say::{note, unwritten},
    terminal::QuietTerminal,
};

pub async fn run(args: Replay) -> std::result::Result<(), Failure> {
    let session = session_id(&args.session)?;
    let mut query = form_urlencoded::Serializer::new(String::new());
    if args.to.is_some() {
        query.append_pair("format", "asciicast");
    } else {
        query.append_pair("speed", &args.speed.to_string());
        if let Some(seconds) = args.max_idle {
            query.append_pair("idle", &seconds.to_string());
        }
    }
    let path = format!("/api/sessions/{session}/replay?{}", query.finish());
    let connector = client::connector(&args.host)?;
    let mut signals = Signals::new()?;
    let host = authority(&args.host);
    let opening = client::answer(&*connector, open(&connector, &host, &path));
    let mut socket = match signals.or(opening).await {
        Ok(opened) => opened?,
        Err(signal) => return Err(Failure::silent(code_of(signal))),
    };
    if let Some(to) = &args.to {
        let written = cast::write(&mut socket, to, session);
        return match signals.or(written).await {
            Ok(written) => written,
            Err(signal) => Err(Failure::silent(code_of(signal))),
        };
    }
    let shows = stdout().is_terminal();
    // What is typed meanwhile does not show, and is for nobody.
    let quiet = (shows && stdin().is_terminal()).then(QuietTerminal::enter);
    let quiet = quiet.transpose()?;
    let lines = quiet.as_ref().map(|_| Lines::default());
    let played = signals.or(play(&mut socket, lines)).await;
    if shows {
        // The recording may have ended, or been left, in the middle of anything.
        let mut out = tokio::io::stdout();
        let _ = out.write_all(RESET).await;
        let _ = out.flush().await;
    }
    drop(quiet);
    match played {
        Ok(last) => last_words(last?.as_deref(), session),
        Err(signal) => {
            note(format_args!("left the replay of session {session}"));
            Err(Failure::silent(code_of(signal)))
        }
    }
}

type Socket = WebSocketStream<BoxByteStream>;

/// Dials the endpoint's replay.
async fn open(connector: &Arc<dyn Connector>, host: &str, path: &str) -> Result<Socket> {
    let stream = connector.connect().await?;
    let config = WebSocketConfig::default()
        .max_message_size(Some(LONGEST))
        .max_frame_size(Some(LONGEST));
    let url = format!("ws://{host}{path}");
    match client_async_with_config(url, stream, Some(config)).await {
        Ok((socket, _)) => Ok(socket),
        Err(WsError::Http(response)) => Err(Error::new(
            ErrorKind::Protocol,
            format!(
                "the endpoint answered {} instead of a replay: is it a longshore control plane?",
                response.status()
            ),
        )),
        Err(error) => {
            Err(Error::unavailable("the connection to the endpoint broke").with_source(error))
        }
    }
}

/// One message of LAIN's replay: its kind and what it carries.
fn read(message: &[u8]) -> Result<(u64, Vec<u8>)> {
    let told: Value = serde_json::from_slice(message)
        .map_err(|error| Error::protocol("the replay is no JSON").with_source(error))?;
    let content = told["content"].as_str().unwrap_or_default();
    let content = BASE64_STANDARD
        .decode(content)
        .map_err(|error| Error::protocol("the replay is no base64").with_source(error))?;
    // What is left out is 0.
    Ok((told["msgType"].as_u64().unwrap_or_default(), content))
}

/// Shows it, in its time, and gives the last words. With `lines` the terminal translates no line ends.
async fn play(
    socket: &mut Socket,
    mut lines: Option<Lines>,
) -> std::result::Result<Option<Vec<u8>>, Failure> {
    let (mut out, mut err) = (tokio::io::stdout(), stderr());
    let mut last = None;
    while let Some(message) = next(socket).await? {
        let (kind, content) = read(&message)?;
        match kind {
            STDOUT => {
                let shown = match &mut lines {
                    Some(lines) => lines.shown(&content),
                    None => content.as_slice().into(),
                };
                let written = out.write_all(&shown).await;
                written.map_err(|error| unwritten(&error))?;
                out.flush().await.map_err(|error| unwritten(&error))?;
            }
            STDERR => {
                // As for every note: nothing can be said of a failure.
                let _ = err.write_all(&content).await;
                let _ = err.flush().await;
            }
            CLOSE => last = Some(content),
            // It says that the server lives.
            _ => {}
        }
    }
    Ok(last)
}

/// The next data message; `None` behind the last one. Cancel safe.
async fn next(socket: &mut Socket) -> std::result::Result<Option<bytes::Bytes>, Failure> {
    let clock = SystemClock::new();
    loop {
        let message = clock.timeout(SILENCE, "the next word of the replay", socket.next());
        return match message.await? {
            Some(Ok(Message::Binary(bytes))) => Ok(Some(bytes)),
            Some(Ok(Message::Text(text))) => Ok(Some(text.into())),
            Some(Ok(Message::Close(frame))) => match frame {
                Some(frame) if u16::from(frame.code) != 1000 => Err(Failure::new(format!(
                    "the replay broke off: {}",
                    longshore::core::printable(&frame.reason, 200)
                ))),
                _ => Ok(None),
            },
            Some(Ok(_)) => continue,
            Some(Err(error)) => {
                let text = "the connection to the endpoint broke in the middle of the replay";
                Err(Error::unavailable(text).with_source(error).into())
            }
            None => Ok(None),
        };
    }
}

/// What may stand in a path as it is.
fn session_id(given: &str) -> std::result::Result<&str, Failure> {
    let is_sane = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    match !given.is_empty() && given.len() <= 128 && given.bytes().all(is_sane) {
        true => Ok(given),
        false => Err(Failure::new(format!(
            "{:?} is no session's id; 'platform sessions' lists those that are recorded",
            longshore::core::printable(given, 40)
        ))),
    }
}

const STDOUT: u64 = 0;
const STDERR: u64 = 1;
const CLOSE: u64 = 2;
/// A line of asciicast has a piece of output, each byte of it as six letters at most.
const LONGEST: usize = 16 << 20;
/// The server says something every ten seconds.
const SILENCE: Duration = Duration::from_secs(60);
