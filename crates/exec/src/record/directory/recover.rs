use std::{fs::File, io::Read};

use longshore_core::{Error, Result, SessionId};

use super::{Recovered, files::Files, read, writing::Writing};
use crate::{
    record::{
        RecordLimits, SessionStatus, SessionSummary,
        ledger::Ledger,
        log::{LogDecoder, LogEncoder},
        tape::Tape,
    },
    session::RecordEvent,
};

/// Reads the index, and finishes what a dead server has left.
pub(super) fn recover(files: &Files) -> Result<(Ledger, Vec<Recovered>)> {
    let mut ledger = Ledger::default();
    let mut recovered = Vec::new();
    for session in files.sessions()? {
        let known = files.read_summary(&session);
        if let Some(summary) = known
            .as_ref()
            .filter(|known| known.status != SessionStatus::Active)
        {
            ledger.put(summary.clone());
            continue;
        }
        let (summary, found) = finish(files, &session, known)?;
        match (summary, found.is_some()) {
            (Some(summary), _) => ledger.put(summary),
            // Not a record, or not one of ours: said, and left where it is.
            (None, true) => {}
            (None, false) => {
                tracing::warn!(%session, "a record without a beginning was removed");
                files.remove(&session);
            }
        }
        recovered.extend(found);
    }
    Ok((ledger, recovered))
}

fn finish(
    files: &Files,
    session: &SessionId,
    mut known: Option<SessionSummary>,
) -> Result<(Option<SessionSummary>, Option<Recovered>)> {
    let mut file = files.old_log(session)?;
    let mut decoder = LogDecoder::new(session);
    let written = known.as_ref().map(|known| known.records);
    let mut summary = None;
    let mut damage = loop {
        let followed = match read(&mut file, &mut decoder)? {
            0 => break None,
            _ => SessionSummary::follow(&mut summary, &mut decoder, session),
        };
        if let Err(error) = followed {
            let blank = decoder.is_torn_blank() && is_blank(&mut file)?;
            break (!blank).then(|| error.to_string());
        }
    };
    let records = decoder.head().records;
    if damage.is_none() && written.is_some_and(|written| written > records) {
        damage = Some(format!(
            "its beginning was written and is not there: {records} events are left"
        ));
    }
    if let Some(damage) = damage {
        tracing::error!(%session, damage, "the record of a session is damaged and is left as it is");
        // What the index knew, or what could be read.
        let mut summary = known.take().or(summary);
        if let Some(summary) = &mut summary {
            summary.status = SessionStatus::Damaged;
            summary.ended_at = summary.ended_at.or(Some(decoder.at()));
            files.write_summary(summary)?;
        }
        let found = Recovered {
            session: session.clone(),
            torn: 0,
            damage: Some(damage),
        };
        return Ok((summary, Some(found)));
    }
    let Some(summary) = summary else {
        return Ok((None, None));
    };
    let length = file
        .metadata()
        .map_err(|error| Error::io("cannot look at a record", error))?;
    let torn = length.len().saturating_sub(decoder.whole());
    if torn > 0 {
        let blank = decoder.is_torn_blank();
        tracing::warn!(%session, torn, blank, "the last event of a record was torn and is cut off");
        file.set_len(decoder.whole())
            .and_then(|()| file.sync_all())
            .map_err(|error| Error::io("cannot cut off a torn event", error))?;
    }
    let mut found = None;
    let at = decoder.at();
    let tape = Tape::resume(LogEncoder::resume(&decoder), summary, at);
    let mut writing = Writing::resume(tape, file);
    if writing.summary().status == SessionStatus::Active {
        let limits = RecordLimits::default();
        let step = writing.next(at, &RecordEvent::Interrupted, &limits)?;
        writing.append(files, step, &limits)?;
        tracing::warn!(%session, "a session was interrupted by the end of its server");
        found = Some(Recovered {
            session: session.clone(),
            torn,
            damage: None,
        });
    } else {
        files.write_summary(writing.summary())?;
    }
    Ok((Some(writing.summary().clone()), found))
}

/// Whether nothing but zeros is left of a file.
fn is_blank(file: &mut File) -> Result<bool> {
    let mut buffer = [0; 8 << 10];
    loop {
        let got = file.read(&mut buffer);
        match got.map_err(|error| Error::io("cannot read a session's record", error))? {
            0 => return Ok(true),
            got if buffer[..got].iter().any(|&byte| byte != 0) => return Ok(false),
            _ => {}
        }
    }
}
