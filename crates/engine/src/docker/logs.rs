use bytes::Bytes;
use futures::{StreamExt, stream};
use http_body_util::BodyExt;
use longshore_core::{
    Error, LogChunk, LogOptions, LogStream, OutputKind, Result, Timestamp,
    http::{Body, Demultiplexer},
};

/// The query of `GET /containers/{id}/logs`.
pub(super) fn query(options: &LogOptions) -> String {
    let tail = match options.tail {
        Some(lines) => lines.to_string(),
        None => "all".to_owned(),
    };
    let mut query = format!(
        "stdout=1&stderr=1&follow={}&tail={tail}",
        u8::from(options.follow)
    );
    if let Some(since) = options.since {
        query.push_str(&format!("&since={}", moment(since)));
    }
    query
}

/// A time as Docker's queries take it: seconds and nanoseconds.
pub(super) fn moment(at: Timestamp) -> String {
    format!("{}.{:06}000", at.as_secs(), at.as_micros() % 1_000_000)
}

/// The log in a body: bare bytes from a terminal, frames otherwise. Never guessed.
pub(super) fn decode(body: Body, tty: bool) -> LogStream {
    let state = State {
        body,
        framed: (!tty).then(Demultiplexer::new),
        piece: Bytes::new(),
        done: false,
    };
    stream::unfold(state, |mut state| async move {
        let next = state.next().await?;
        state.done |= next.is_err();
        Some((next, state))
    })
    .boxed()
}

struct State {
    body: Body,
    framed: Option<Demultiplexer>,
    piece: Bytes,
    done: bool,
}

impl State {
    async fn next(&mut self) -> Option<Result<LogChunk>> {
        loop {
            if self.done {
                return None;
            }
            if let Some(frames) = &mut self.framed {
                match frames.next(&mut self.piece) {
                    Ok(Some(output)) => {
                        return Some(Ok(LogChunk {
                            kind: output.kind,
                            bytes: output.bytes,
                        }));
                    }
                    Ok(None) => {}
                    Err(error) => return Some(Err(error)),
                }
            }
            match self.body.frame().await {
                None => {
                    self.done = true;
                    let whole = self.framed.as_ref().is_none_or(|it| it.finish().is_ok());
                    return (!whole)
                        .then(|| Err(Error::unavailable("the engine's log ended within a frame")));
                }
                Some(Err(error)) => return Some(Err(error)),
                Some(Ok(frame)) => {
                    let Ok(bytes) = frame.into_data() else {
                        continue;
                    };
                    if self.framed.is_none() {
                        let kind = OutputKind::Stdout;
                        return Some(Ok(LogChunk { kind, bytes }));
                    }
                    self.piece = bytes;
                }
            }
        }
    }
}
