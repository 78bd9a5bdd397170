//! A record as a file.

use std::path::Path;

use tokio::{
    fs::OpenOptions,
    io::{AsyncWriteExt, stdout},
};

use super::{Socket, next, read, words::last_words};
use crate::{
    Failure,
    say::{note, unwritten},
};

/// Writes it to a file that is not there yet, or to the standard output (`-`). A file that did not get
/// all of it is removed.
pub async fn write(socket: &mut Socket, to: &Path, session: &str) -> Result<(), Failure> {
    // Nothing is made for a record that is none.
    let Some(head) = next(socket).await? else {
        return last_words(None, session);
    };
    if !is_head(&head) {
        // The words of who refuses a replay.
        return refused(&head, session);
    }
    if to == Path::new("-") {
        let mut out = stdout();
        let mut line = Some(head);
        while let Some(bytes) = line {
            let written = out.write_all(&bytes).await;
            written.map_err(|error| unwritten(&error))?;
            line = next(socket).await?;
        }
        return out.flush().await.map_err(|error| unwritten(&error));
    }
    let named = |error: std::io::Error| match error.kind() {
        std::io::ErrorKind::AlreadyExists => Failure::new(format!(
            "{} is there already: remove it, or name another file",
            to.display()
        )),
        _ => Failure::new(format!("can't write {}: {error}", to.display())),
    };
    let mut options = OpenOptions::new();
    // What is on the screen of a session may be secret.
    options.write(true).create_new(true).mode(0o600);
    let mut file = options.open(to).await.map_err(named)?;
    let unfinished = Unfinished(Some(to));
    let mut line = Some(head);
    let mut lines = 0_u64;
    while let Some(bytes) = line {
        file.write_all(&bytes).await.map_err(named)?;
        lines += 1;
        line = next(socket).await?;
    }
    // What was written last may have failed behind our back.
    file.flush().await.map_err(named)?;
    file.sync_all().await.map_err(named)?;
    unfinished.keep();
    note(format_args!(
        "{}: {} events of session {session}",
        to.display(),
        lines - 1
    ));
    Ok(())
}

fn is_head(line: &[u8]) -> bool {
    let head: Option<serde_json::Value> = serde_json::from_slice(line).ok();
    head.is_some_and(|head| head["version"].is_u64())
}

fn refused(told: &[u8], session: &str) -> Result<(), Failure> {
    let said = read(told).map(|(_, said)| said);
    match last_words(said.ok().as_deref(), session) {
        Ok(()) => last_words(None, session),
        refused => refused,
    }
}

/// A file of which a part is missing: removed when this is dropped.
struct Unfinished<'a>(Option<&'a Path>);

impl Unfinished<'_> {
    fn keep(mut self) {
        self.0 = None;
    }
}

impl Drop for Unfinished<'_> {
    fn drop(&mut self) {
        if let Some(path) = self.0 {
            // It may have gone by itself.
            let _ = std::fs::remove_file(path);
        }
    }
}
