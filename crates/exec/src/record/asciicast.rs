use std::io::Read;

use bytes::Bytes;
use longshore_core::{Error, OutputKind, Result, TerminalSize, Timestamp};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    ImportLimits, Imported,
    import::{Lines, micros},
    line::seconds,
};
use crate::{
    session::{RecordEvent, SessionAbout},
    utf8::Utf8Tail,
};

/// A version of asciicast.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum AsciicastVersion {
    /// Times from the beginning. Every asciinema since 2.0 plays it, and so do its web player and
    /// most programs that read asciicast at all.
    #[default]
    Two,
    /// Intervals, and the exit code. For asciinema 3.0 and later and web players of its time: older
    /// ones refuse it.
    Three,
}

/// Writes asciicast, the format of asciinema (`docs.asciinema.org/manual/asciicast/v2` and `v3`): one
/// JSON line for the head and one per event, with times from the beginning in version 2, and from the
/// line before in version 3.
///
/// JSON holds text only: bytes that are no UTF-8 become U+FFFD, and a character that two pieces of
/// output share goes with the second. Both outputs are one. Rules that were met and hidden input
/// become markers. Version 3 also has the exit code, where one is known.
#[derive(Debug)]
pub struct AsciicastWriter {
    version: AsciicastVersion,
    /// Where times count from.
    start: Timestamp,
    output: Utf8Tail,
    input: Utf8Tail,
    last: Timestamp,
}

impl AsciicastWriter {
    /// A recording of version 2 that begins at `start`; and its head, a line.
    pub fn new(about: &SessionAbout, start: Timestamp) -> (Self, String) {
        Self::of_version(AsciicastVersion::Two, about, start)
    }

    /// As [`new`](Self::new), in this version.
    pub fn of_version(
        version: AsciicastVersion,
        about: &SessionAbout,
        start: Timestamp,
    ) -> (Self, String) {
        let size = about.size.unwrap_or_default();
        let mut head = json!({
            "timestamp": start.as_secs(),
            "title": format!("{} in {}", about.who.subject, about.container),
        });
        if let [command] = about.commands.as_slice() {
            head["command"] = Value::from(command.join(" "));
        }
        match version {
            AsciicastVersion::Two => {
                head["version"] = Value::from(2);
                head["width"] = Value::from(size.columns);
                head["height"] = Value::from(size.rows);
                if let Some(term) = &about.term {
                    head["env"] = json!({ "TERM": term });
                }
            }
            AsciicastVersion::Three => {
                head["version"] = Value::from(3);
                head["term"] = json!({ "cols": size.columns, "rows": size.rows });
                if let Some(term) = &about.term {
                    head["term"]["type"] = Value::from(&**term);
                }
            }
        }
        let writer = Self {
            version,
            start,
            output: Utf8Tail::default(),
            input: Utf8Tail::default(),
            last: start,
        };
        (writer, format!("{head}\n"))
    }

    /// The line of an event, if it has one. The end of version 3 may have two: output that was held
    /// back comes before it.
    pub fn event(&mut self, at: Timestamp, event: &RecordEvent) -> Option<String> {
        self.last = at;
        let (code, data) = match event {
            RecordEvent::Output { bytes, .. } => ("o", self.output.push(bytes.clone())),
            RecordEvent::Input(bytes) => ("i", self.input.push(bytes.clone())),
            RecordEvent::Resize(size) => {
                ("r", Bytes::from(format!("{}x{}", size.columns, size.rows)))
            }
            RecordEvent::InputHidden => ("m", Bytes::from_static(b"hidden input")),
            RecordEvent::Hit(hit) => ("m", Bytes::from(format!("{} {}", hit.action, hit.rule))),
            RecordEvent::Full => ("m", Bytes::from_static(b"the rest is missing")),
            RecordEvent::Interrupted => ("m", Bytes::from_static(b"interrupted")),
            RecordEvent::Ended(end) if self.version == AsciicastVersion::Three => {
                let rest = self.finish().unwrap_or_default();
                let code = end
                    .code
                    .map(|code| self.line("x", code.to_string().as_bytes()));
                return Some(rest + &code.unwrap_or_default()).filter(|lines| !lines.is_empty());
            }
            RecordEvent::Opened(_) | RecordEvent::Ended(_) => return None,
        };
        (!data.is_empty()).then(|| self.line(code, &data))
    }

    /// What was held back: the beginning of a character whose rest never came.
    pub fn finish(&mut self) -> Option<String> {
        let rest = self.output.flush();
        (!rest.is_empty()).then(|| self.line("o", &rest))
    }

    fn line(&mut self, code: &str, data: &[u8]) -> String {
        let text = Value::from(String::from_utf8_lossy(data).into_owned());
        // The time is written by hand: a float would lose digits or gain them.
        let time = seconds(self.start, self.last);
        if self.version == AsciicastVersion::Three {
            self.start = self.start.max(self.last);
        }
        format!("[{time}, \"{code}\", {text}]\n")
    }
}

/// Reads asciicast v2. Lines that can't be understood are counted and left out; a file without its
/// head is refused.
///
/// # Errors
/// It is no asciicast v2, longer than allowed, or can't be read.
pub fn read_asciicast(reader: impl Read, limits: &ImportLimits) -> Result<Imported> {
    let mut lines = Lines::new(reader, limits);
    let head = lines.next_line()?.unwrap_or_default();
    let head: Head = serde_json::from_slice(&head).map_err(|error| {
        Error::invalid("the first line is not the head of an asciicast").with_source(error)
    })?;
    if head.version != 2 {
        return Err(Error::invalid(format!(
            "the file is an asciicast of version {}: only version 2 is read",
            head.version
        )));
    }
    let mut imported = Imported {
        created_at: head.timestamp.and_then(created).unwrap_or_default(),
        size: Some(TerminalSize::new(head.width, head.height)),
        ..Imported::default()
    };
    while let Some(line) = lines.next_line()? {
        if line.iter().all(u8::is_ascii_whitespace) && !line.is_empty() {
            continue;
        }
        match parse(&line, imported.output) {
            Some((at, event)) => imported.add(at, event, limits),
            None => imported.skipped += 1,
        }
    }
    Ok(imported)
}

#[derive(Deserialize)]
struct Head {
    version: u32,
    width: u16,
    height: u16,
    #[serde(default)]
    timestamp: Option<f64>,
}

/// Seconds since 1970, for the next few thousand years.
fn created(seconds: f64) -> Option<Timestamp> {
    let known = (0.0..1e11).contains(&seconds);
    known.then(|| Timestamp::from_micros((seconds * 1e6).round() as u64))
}

fn parse(line: &[u8], offset: u64) -> Option<(u64, RecordEvent)> {
    let (at, code, data): (f64, String, String) = serde_json::from_slice(line).ok()?;
    let at = micros(at)?;
    let event = match code.as_str() {
        "o" if !data.is_empty() => RecordEvent::Output {
            offset,
            kind: OutputKind::Stdout,
            bytes: Bytes::from(data),
        },
        "i" if !data.is_empty() => RecordEvent::Input(Bytes::from(data)),
        "r" => {
            let (columns, rows) = data.split_once('x')?;
            RecordEvent::Resize(TerminalSize::new(columns.parse().ok()?, rows.parse().ok()?))
        }
        _ => return None,
    };
    Some((at, event))
}
