use http::StatusCode;
use longshore_core::{AttachRequest, Error, Result};

use super::{
    hijack::{self, Carriage, ClientGone, InputEnd},
    logs, lookup,
    notes::size,
    reply::{Reply, empty},
    router::Call,
};

/// `POST /containers/{name}/attach`. What does not run yet is waited for.
pub(super) async fn attach(call: Call, name: &str) -> Result<Reply> {
    if !call.query.flag("stream") {
        // Only the log so far was asked for, and it ends by itself.
        return logs::logs(&call, name).await;
    }
    let engine = call.shared.engine()?;
    let workload = lookup::workload(&*engine, name).await?;
    let detail = workload.detail.unwrap_or_default();
    let note = call.shared.notes.get(&workload.id);
    let mut request = AttachRequest::new(workload.id.clone()).with_next_run();
    request.stdin = call.query.flag("stdin") && detail.open_stdin;
    request.backlog = call.query.flag("logs");
    let session = call.shared.exec()?.attach(&request).await?;
    call.shared.notes.attached(&workload.id, &session);
    let carriage = Carriage {
        framed: !detail.tty,
        stdout: call.query.flag("stdout"),
        stderr: call.query.flag("stderr"),
        input_end: if note.flag("/StdinOnce") && !detail.tty {
            InputEnd::IsPassedOn
        } else {
            InputEnd::IsKept
        },
        client_gone: ClientGone::Detaches,
    };
    Ok(hijack::answer(call, session, carriage, async {}))
}

/// `POST /containers/{name}/resize`.
pub(super) async fn resize(call: &Call, name: &str) -> Result<Reply> {
    let (columns, rows) = (call.query.number("w")?, call.query.number("h")?);
    let Some(size) = size(columns.unwrap_or(0), rows.unwrap_or(0)) else {
        return Err(Error::invalid("invalid size: expected w and h above 0"));
    };
    let engine = call.shared.engine()?;
    let workload = lookup::workload(&*engine, name).await?;
    let mut attached = call.shared.notes.attachments(&workload.id);
    if attached.is_empty() {
        let request = AttachRequest::new(workload.id).with_next_run();
        attached.push(call.shared.exec()?.attach(&request).await?);
    }
    // All of them lead to the one terminal.
    if let Some(session) = attached.last() {
        session.resize(size).await?;
    }
    Ok(empty(StatusCode::OK))
}
