use std::fmt;

use longshore_core::Cleanup;
use serde::{Deserialize, Serialize};

use crate::session::{Person, SessionEnd, ViewerId};

/// What to open.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Open {
    /// Who asks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
    /// A container, as the gateway's directory knows it; a session's id for the two that look on.
    pub target: String,
    /// To run, attach, or look on.
    pub mode: OpenMode,
    /// Program and arguments; empty: a shell.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub argv: Vec<String>,
    /// With a terminal.
    pub tty: bool,
    /// With an input.
    pub stdin: bool,
    /// `TERM` for it.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub term: String,
    /// Columns; 0: not told.
    pub cols: u16,
    /// Rows; 0: not told.
    pub rows: u16,
    /// `NAME=value` pairs.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub env: Vec<String>,
    /// Where it runs; empty: as the container.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub dir: String,
    /// As whom; empty: as the container.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub user: String,
    /// What happens to the command's processes at the session's end; `None`: what the server does by
    /// default. A server that follows it says `cleanup` in READY's `caps`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cleanup: Option<Cleanup>,
    /// Attached: with earlier output first.
    pub backlog: bool,
    /// The client leaves for good when its connection ends.
    pub ephemeral: bool,
    /// The client draws SNAPSHOT.
    #[serde(skip_serializing_if = "is_false")]
    pub snapshot: bool,
    /// No OUTPUT ends within a UTF-8 character.
    #[serde(skip_serializing_if = "is_false")]
    pub text: bool,
    /// The client takes PACKED.
    #[serde(skip_serializing_if = "is_false")]
    pub compress: bool,
    /// The client wants to be told who is here: the NOTICE `here`.
    #[serde(skip_serializing_if = "is_false")]
    pub people: bool,
}

impl Open {
    /// To look on at a session; with leave to enter it, its input goes through meanwhile, and its
    /// owner may pass the right to write on.
    pub fn look_on(session: impl Into<String>, approves: bool) -> Self {
        Self {
            target: session.into(),
            mode: match approves {
                true => OpenMode::Approve,
                false => OpenMode::Watch,
            },
            stdin: approves,
            ..Self::default()
        }
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's shape")]
fn is_false(flag: &bool) -> bool {
    !*flag
}

/// Hides the token.
impl fmt::Debug for Open {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Open")
            .field("target", &self.target)
            .field("mode", &self.mode)
            .field("argv", &self.argv)
            .finish_non_exhaustive()
    }
}

/// What an OPEN asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum OpenMode {
    /// A command.
    #[default]
    Exec,
    /// The container's own process.
    Attach,
    /// Looking on at a session.
    Watch,
    /// Looking on, and letting its input through.
    Approve,
}

/// Which session to come back to.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resume {
    /// Its id.
    pub session: String,
    /// The secret of the last READY.
    pub secret: String,
    /// The offset of the next output byte.
    pub want: u64,
    /// The client draws SNAPSHOT.
    #[serde(default, skip_serializing_if = "is_false")]
    pub snapshot: bool,
    /// As in [`Open`].
    #[serde(default, skip_serializing_if = "is_false")]
    pub text: bool,
    /// As in [`Open`].
    #[serde(default, skip_serializing_if = "is_false")]
    pub compress: bool,
    /// As in [`Open`].
    #[serde(default, skip_serializing_if = "is_false")]
    pub people: bool,
}

/// Hides the secret.
impl fmt::Debug for Resume {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Resume")
            .field("session", &self.session)
            .field("want", &self.want)
            .finish_non_exhaustive()
    }
}

/// Where the session stands.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReadyFrame {
    /// Its id.
    pub session: String,
    /// For the next RESUME; absent for who only looks on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<String>,
    /// The offset of the oldest output that is kept.
    pub base: u64,
    /// The offset behind the newest.
    pub head: u64,
    /// The offset of the next input; an earlier one is known already.
    pub in_next: u64,
    /// The offset from which on the input is the owner's alone. Before it somebody who was granted the
    /// right to write may have typed: what the client typed before that, it does not send again. Absent:
    /// 0, there is none.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub in_own: u64,
    /// What the server can do: `signal`, `resume`, `people`, `cleanup`; `deflate` where it sends PACKED on this connection.
    #[serde(default)]
    pub caps: Vec<String>,
    /// Bytes of input that may be unacknowledged.
    pub in_window: u64,
}

fn is_zero(offset: &u64) -> bool {
    *offset == 0
}

/// Hides the secret.
impl fmt::Debug for ReadyFrame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReadyFrame")
            .field("session", &self.session)
            .field("base", &self.base)
            .field("head", &self.head)
            .field("in_next", &self.in_next)
            .finish_non_exhaustive()
    }
}

/// How the session ended; behind all output.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExitFrame {
    /// The end.
    #[serde(flatten)]
    pub end: SessionEnd,
    /// How many bytes of output there were.
    pub out_len: u64,
}

/// Something to show.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NoticeFrame {
    /// `info` or `warning`.
    pub level: String,
    /// A stable word.
    pub code: String,
    /// A sentence.
    pub text: String,
    /// Of `joined` and `left`: the number for GRANT.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub viewer: Option<u64>,
    /// Of `may-write`: the offset of the connection's input.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub in_next: Option<u64>,
    /// Of `here`: everybody, as far as the connection may know.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub people: Vec<PersonFrame>,
}

impl NoticeFrame {
    /// The code of the notice that says who is here.
    pub(crate) const HERE: &'static str = "here";
}

/// Somebody who is here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PersonFrame {
    /// The number for GRANT.
    pub viewer: u64,
    /// The name, where it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub who: Option<String>,
    /// Whether the session is theirs.
    #[serde(default, skip_serializing_if = "is_false")]
    pub holds: bool,
    /// Whether they may write.
    #[serde(default, skip_serializing_if = "is_false")]
    pub writes: bool,
    /// Whether they have leave to look only.
    #[serde(default, skip_serializing_if = "is_false")]
    pub looks: bool,
    /// Whether it is this connection.
    #[serde(default, skip_serializing_if = "is_false")]
    pub you: bool,
}

impl From<Person> for PersonFrame {
    fn from(person: Person) -> Self {
        Self {
            viewer: person.connection.number(),
            who: person.name,
            holds: person.holds,
            writes: person.writes,
            looks: person.only_looks,
            you: person.is_you,
        }
    }
}

/// The name is made printable: it is the gateway's word.
impl From<PersonFrame> for Person {
    fn from(frame: PersonFrame) -> Self {
        let mut person = Self::new(ViewerId::new(frame.viewer), frame.who.as_deref());
        person.holds = frame.holds;
        person.writes = frame.writes;
        person.only_looks = frame.looks;
        person.is_you = frame.you;
        person
    }
}
