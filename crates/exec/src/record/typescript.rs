use std::io::Read;

use bytes::Bytes;
use longshore_core::{Error, OutputKind, Result, Timestamp};

use super::{
    ImportLimits, Imported,
    import::{Lines, micros, too_long},
    line::seconds,
};
use crate::session::RecordEvent;

/// Writes the pair of files that `scriptreplay` of util-linux reads and LAIN Entry stored: the
/// output between two lines of its own, and for each piece its delay and its length. Byte-exact;
/// sizes and input are left out.
#[derive(Debug)]
pub struct TypescriptWriter {
    last: Timestamp,
}

impl TypescriptWriter {
    /// A recording that begins at `start`; and the typescript's first line.
    pub fn new(start: Timestamp) -> (Self, String) {
        (Self { last: start }, format!("{STARTED}{start}\n"))
    }

    /// What an event adds to the typescript and to the timing.
    pub fn event(&mut self, at: Timestamp, event: &RecordEvent) -> Option<(Bytes, String)> {
        let RecordEvent::Output { bytes, .. } = event else {
            return None;
        };
        let line = format!("{} {}\n", seconds(self.last, at), bytes.len());
        self.last = at.max(self.last);
        Some((bytes.clone(), line))
    }

    /// The typescript's last line.
    pub fn finish(self, at: Timestamp) -> String {
        format!("{DONE}{at}\n")
    }
}

/// Reads such a pair. Lines of the timing that can't be understood are counted and left out; output
/// that they do not speak of comes at the end. The timing may also be of the form that `script
/// --log-timing` writes, of which the output is read.
///
/// # Errors
/// The files are longer than allowed, or can't be read.
pub fn read_typescript(
    mut typescript: impl Read,
    timing: impl Read,
    limits: &ImportLimits,
) -> Result<Imported> {
    let mut script = Vec::new();
    let limit = limits.bytes.saturating_add(1);
    std::io::Read::by_ref(&mut typescript)
        .take(limit)
        .read_to_end(&mut script)
        .map_err(|error| Error::io("cannot read the typescript", error))?;
    if script.len() as u64 > limits.bytes {
        return Err(too_long());
    }
    let script = Bytes::from(script);
    let (started, mut rest) = head(&script);
    let mut imported = Imported {
        created_at: started.unwrap_or_default(),
        ..Imported::default()
    };
    let mut now: u64 = 0;
    let mut lines = Lines::new(timing, limits);
    while let Some(line) = lines.next_line()? {
        match parse(&line) {
            Some(Timing::Output { delay, count }) => {
                now = now.saturating_add(delay);
                let piece = rest.split_to(count.min(rest.len()));
                if piece.len() < count {
                    imported.skipped += 1;
                }
                output(&mut imported, now, piece, limits);
            }
            Some(Timing::Other { delay }) => now = now.saturating_add(delay),
            None => imported.skipped += 1,
        }
    }
    output(&mut imported, now, body(rest), limits);
    Ok(imported)
}

enum Timing {
    Output { delay: u64, count: usize },
    Other { delay: u64 },
}

fn parse(line: &[u8]) -> Option<Timing> {
    let line = std::str::from_utf8(line).ok()?;
    let mut words = line.split_ascii_whitespace();
    let first = words.next()?;
    let is_output = match first {
        "O" => true,
        "I" | "S" | "H" => false,
        _ => {
            let delay = micros(first.parse().ok()?)?;
            let count = words.next()?.parse().ok()?;
            return Some(Timing::Output { delay, count });
        }
    };
    let delay = micros(words.next()?.parse().ok()?)?;
    match is_output {
        true => Some(Timing::Output {
            delay,
            count: words.next()?.parse().ok()?,
        }),
        false => Some(Timing::Other { delay }),
    }
}

/// The time of the first line, and what is behind it.
fn head(script: &Bytes) -> (Option<Timestamp>, Bytes) {
    if !script.starts_with(STARTED.as_bytes()) {
        return (None, script.clone());
    }
    let end = script
        .iter()
        .position(|&byte| byte == b'\n')
        .unwrap_or(script.len() - 1);
    let line = String::from_utf8_lossy(&script[STARTED.len()..end.max(STARTED.len())]);
    // util-linux writes a space for the T, and what it knows in brackets behind.
    let time = line
        .split('[')
        .next()
        .unwrap_or_default()
        .trim()
        .replacen(' ', "T", 1);
    let time = Timestamp::parse_rfc3339(&time).ok().flatten();
    (time, script.slice(end + 1..))
}

/// The output without the last line.
fn body(rest: Bytes) -> Bytes {
    match rest
        .windows(DONE.len())
        .rposition(|part| part == DONE.as_bytes())
    {
        Some(at) => rest.slice(..at),
        None => rest,
    }
}

fn output(imported: &mut Imported, at: u64, bytes: Bytes, limits: &ImportLimits) {
    if bytes.is_empty() {
        return;
    }
    let event = RecordEvent::Output {
        offset: imported.output,
        kind: OutputKind::Stdout,
        bytes,
    };
    imported.add(at, event, limits);
}

const STARTED: &str = "Script started on ";
const DONE: &str = "\nScript done on ";
