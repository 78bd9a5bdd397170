use futures::StreamExt;
use longshore_core::{Error, LogOptions, OutputKind, Result};

use super::{
    hijack::framed,
    lookup,
    reply::{Reply, streamed},
    router::Call,
};

/// `GET /containers/{name}/logs`.
pub(super) async fn logs(call: &Call, name: &str) -> Result<Reply> {
    let (stdout, stderr) = (call.query.flag("stdout"), call.query.flag("stderr"));
    if !stdout && !stderr {
        return Err(Error::invalid(
            "Bad parameters: you must choose at least one stream",
        ));
    }
    for unknown in ["timestamps", "until"] {
        if call.query.flag(unknown) {
            return Err(Error::unsupported(format!(
                "logs with {unknown} are not offered by this engine: it keeps no time with each line"
            )));
        }
    }
    let mut options = LogOptions::default();
    options.follow = call.query.flag("follow");
    options.since = call
        .query
        .time("since")?
        .filter(|since| since.as_micros() > 0);
    options.tail = match call.query.get("tail") {
        None | Some("all") => None,
        Some(lines) => lines
            .parse::<i64>()
            .ok()
            .and_then(|lines| u32::try_from(lines).ok()),
    };
    let engine = call.shared.engine()?;
    let workload = lookup::workload(&*engine, name).await?;
    let tty = workload.detail.as_ref().is_some_and(|detail| detail.tty);
    let log = engine.logs(&workload.id, &options).await?;
    let pieces = log.filter_map(move |chunk| {
        let piece = match chunk {
            Ok(chunk) => match chunk.kind {
                OutputKind::Stdout if !stdout => None,
                OutputKind::Stderr if !stderr => None,
                _ if tty => Some(Ok(chunk.bytes)),
                kind => Some(Ok(framed(kind, &chunk.bytes))),
            },
            Err(error) => Some(Err(error)),
        };
        std::future::ready(piece)
    });
    Ok(streamed("application/vnd.docker.raw-stream", pieces))
}
