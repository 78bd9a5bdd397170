//! What the gateway says.

use bytes::{Buf, Bytes};
use longshore_core::{Error, ExecOutput, OutputKind, Result};

use super::{ClientCore, ClientEvent};
use crate::{
    protocol::native::{NoticeFrame, ServerFrame},
    session::Person,
};

impl ClientCore {
    pub(super) fn told(&mut self, frame: ServerFrame) -> Result<ClientEvent> {
        Ok(match frame {
            ServerFrame::Output(offset, kind, bytes) => {
                self.expect(offset, bytes.len())?;
                self.news(kind, bytes)
            }
            ServerFrame::Packed(offset, kind, length, packed) => {
                // Before anything is made of it.
                self.expect(offset, length as usize)?;
                let bytes = self.unpack(&packed, length)?;
                self.news(kind, bytes)
            }
            ServerFrame::InputAck(offset) => {
                self.safe(offset)?;
                ClientEvent::Nothing
            }
            ServerFrame::Gap(from, to, _) => {
                if from != self.due || to < from {
                    return Err(Error::protocol("a gap that is none"));
                }
                within_reach(to)?;
                self.due = to;
                let missing = to.saturating_sub(self.want);
                self.consumed += missing;
                self.want += missing;
                if self.owed.is_some() {
                    self.missed += missing;
                }
                match missing {
                    0 => ClientEvent::Nothing,
                    missing => ClientEvent::Gap(missing),
                }
            }
            ServerFrame::Exit(exit) => {
                if exit.out_len != self.due || self.due < self.want {
                    return Err(Error::protocol("the end came before all output"));
                }
                self.end = Some(exit.end.clone());
                self.ending = true;
                ClientEvent::Ended(exit.end)
            }
            ServerFrame::Notice(notice) if notice.code == "started" => ClientEvent::Started,
            ServerFrame::Notice(notice) if notice.code == NoticeFrame::HERE => {
                if notice.people.len() > MOST_PEOPLE {
                    return Err(Error::protocol("more people are here than may be"));
                }
                self.people = notice.people.into_iter().map(Person::from).collect();
                match self.answered_by_people() {
                    true => ClientEvent::Passed(true),
                    false => ClientEvent::Company,
                }
            }
            ServerFrame::Notice(notice)
                if notice.code == "not-granted"
                    && (self.passing.is_some() || !self.late.is_empty()) =>
            {
                match self.answered_by_refusal() {
                    true => ClientEvent::Passed(false),
                    false => ClientEvent::Nothing,
                }
            }
            ServerFrame::Notice(notice) => {
                match (notice.code.as_str(), notice.in_next) {
                    ("read-only", _) => {
                        self.writes = false;
                        self.type_anew_at(self.sent);
                    }
                    ("may-write", Some(next)) => {
                        within_reach(next)?;
                        self.writes = true;
                        self.own_from = next;
                        self.type_anew_at(next);
                        // Whoever wrote meanwhile had another terminal.
                        self.size_sent = false;
                    }
                    _ => {}
                }
                ClientEvent::Notice(notice.code, notice.text)
            }
            ServerFrame::Snapshot(..) => {
                return Err(Error::protocol("a snapshot that was not asked for"));
            }
            ServerFrame::Pong(_) | ServerFrame::Ready(_) => ClientEvent::Nothing,
        })
    }

    /// What of this output, the next of the connection, an earlier connection has not told.
    pub(super) fn news(&mut self, kind: OutputKind, mut bytes: Bytes) -> ClientEvent {
        let known = (self.want - self.due).min(bytes.len() as u64);
        self.due += bytes.len() as u64;
        bytes.advance(known as usize);
        if bytes.is_empty() {
            return ClientEvent::Nothing;
        }
        self.want = self.due;
        ClientEvent::Output(ExecOutput { kind, bytes })
    }

    /// Whether so much output may come here.
    pub(super) fn expect(&self, offset: u64, length: usize) -> Result<()> {
        if offset != self.due {
            return Err(Error::protocol(format!(
                "output at offset {offset}, and {} was to come",
                self.due
            )));
        }
        if self.want + length as u64 - self.consumed > MOST_UNREAD {
            return Err(Error::protocol(
                "the gateway sends more than may be unacknowledged",
            ));
        }
        Ok(())
    }

    pub(super) fn takes_packed(&self) -> bool {
        self.open.as_ref().is_some_and(|open| open.compress)
    }

    pub(super) fn unpack(&self, packed: &[u8], length: u32) -> Result<Bytes> {
        if !self.takes_packed() {
            return Err(Error::protocol("compressed output that was not asked for"));
        }
        #[cfg(feature = "compression")]
        return crate::protocol::native::pack::unpack(packed, length);
        #[cfg(not(feature = "compression"))]
        return Err(Error::internal(format!(
            "{length} bytes came in {}, and the feature compression is off",
            packed.len()
        )));
    }

    pub(super) fn safe(&mut self, offset: u64) -> Result<()> {
        // The gateway may have taken what was sent before it was heard that it would not.
        if offset > self.sent.max(self.reached) {
            return Err(Error::protocol(
                "input was acknowledged that was never sent",
            ));
        }
        if let Some(new) = offset.checked_sub(self.taken) {
            let known = self.unsafe_input.len();
            let _ = self.unsafe_input.split_to(known.min(new as usize));
            self.taken = offset;
            self.sent = self.sent.max(offset);
        }
        Ok(())
    }
}

/// No session comes to an offset beyond; sums of such can't overflow.
pub(super) fn within_reach(offset: u64) -> Result<()> {
    match offset <= FURTHEST {
        true => Ok(()),
        false => Err(Error::protocol(format!(
            "no session has come to offset {offset}"
        ))),
    }
}

const FURTHEST: u64 = 1 << 60;
const MOST_UNREAD: u64 = 4 << 20;
const MOST_PEOPLE: usize = 1024;
