use bytes::{Bytes, BytesMut};

use super::RuleSet;
use crate::{
    record::line::{Key, TypedLine},
    session::{EndReason, InputJudge, Judgement, RuleAction, RuleHit, SessionEnd},
};

/// Follows what is typed in one session, and looks at each line when Enter comes.
#[derive(Debug)]
pub(super) struct Judge {
    rules: RuleSet,
    line: TypedLine,
    /// Enter was held back until it is pressed again.
    asked: bool,
    /// A blocked line that may still stand in a program that does not know Ctrl-U.
    blocked: Option<String>,
    /// Enter was held back just now; a `\n` behind its `\r` belongs to it.
    held_return: bool,
}

impl Judge {
    pub(super) fn new(rules: RuleSet) -> Self {
        Self {
            rules,
            line: TypedLine::default(),
            asked: false,
            blocked: None,
            held_return: false,
        }
    }

    /// What the line that Enter ends meets.
    fn hits(&self) -> Vec<RuleHit> {
        let text = self.line.text();
        let mut met = self.rules.meets(&text);
        let whole;
        if met.is_empty()
            && let Some(blocked) = &self.blocked
        {
            whole = format!("{blocked}{text}");
            met = self.rules.meets(&whole);
        }
        met.into_iter()
            .map(|(name, action)| RuleHit::new(name, action))
            .collect()
    }
}

impl InputJudge for Judge {
    fn judge(&mut self, bytes: Bytes) -> Judgement {
        let mut judgement = Judgement::pass(Bytes::new());
        for (at, &byte) in bytes.iter().enumerate() {
            if std::mem::take(&mut self.held_return) && byte == b'\n' {
                // What was held back is all of it.
                let mut rest = self.judge(bytes.slice(at + 1..));
                judgement.pass = joined(&bytes[..at], &rest.pass);
                judgement.hits.append(&mut rest.hits);
                judgement.end = rest.end;
                return judgement;
            }
            if self.line.push(byte) == Key::Part {
                self.asked = false;
                continue;
            }
            let hits = if self.asked { Vec::new() } else { self.hits() };
            self.asked = false;
            let action = hits.iter().map(|hit| hit.action).max();
            judgement.hits.extend(hits);
            match action {
                Some(RuleAction::Block) if self.rules.ends_session => {
                    let end = SessionEnd::new(EndReason::EndedByOperator);
                    judgement.end =
                        Some(end.with_text("a rule of this server does not allow this line"));
                    judgement.pass = bytes.slice(..at);
                    return judgement;
                }
                Some(RuleAction::Block) => {
                    // What was pasted behind it was meant to follow it, so it goes too.
                    let text = self.line.text();
                    self.blocked.get_or_insert_default().push_str(&text);
                    if self
                        .blocked
                        .as_ref()
                        .is_some_and(|text| text.len() > LONGEST_BLOCKED)
                    {
                        self.blocked = Some(text);
                    }
                    self.line.clear();
                    self.held_return = at + 1 == bytes.len() && byte == b'\r';
                    judgement.pass = joined(&bytes[..at], &[CTRL_U]);
                    return judgement;
                }
                Some(RuleAction::Ask) => {
                    self.asked = true;
                    self.held_return = at + 1 == bytes.len() && byte == b'\r';
                    judgement.pass = bytes.slice(..at);
                    return judgement;
                }
                _ => {
                    self.line.clear();
                    self.blocked = None;
                }
            }
        }
        judgement.pass = bytes;
        judgement
    }
}

fn joined(one: &[u8], two: &[u8]) -> Bytes {
    let mut all = BytesMut::with_capacity(one.len() + two.len());
    all.extend_from_slice(one);
    all.extend_from_slice(two);
    all.freeze()
}

/// Rubs out the line, in shells and in the terminal itself.
const CTRL_U: u8 = 0x15;
const LONGEST_BLOCKED: usize = 64 << 10;
