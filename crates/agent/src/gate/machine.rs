//! Who may act through this node, as a pure state machine.

use std::collections::{BTreeMap, VecDeque};

use longshore_core::Mandate;

/// A stream, by the order in which they came.
pub(super) type Ticket = u64;

/// What happened.
#[derive(Clone, Copy, Debug)]
pub(super) enum Input {
    /// A stream wants in.
    Opened(Ticket, Option<Mandate>),
    /// A stream has ended, or was never begun.
    Ended(Ticket),
}

/// What must be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Output {
    /// It may do anything. Under a token, that one must be on the disk before.
    Admit(Ticket, Option<u64>),
    /// It may look.
    Observe(Ticket),
    /// It may do nothing, for this reason.
    Refuse(Ticket, String),
    /// It may do nothing more, for this reason.
    End(Ticket, String),
}

/// Remembers the highest fencing token and the streams that were opened under it.
///
/// The highest token only grows. At any time all admitted streams have it, or none has one and none
/// was ever seen. Whoever only looks is let in always.
#[derive(Debug, Default)]
pub(super) struct Machine {
    highest: Option<u64>,
    /// The admitted streams with the token of each.
    acting: BTreeMap<Ticket, Option<u64>>,
    outputs: VecDeque<Output>,
}

impl Machine {
    pub(super) fn new(highest: Option<u64>) -> Self {
        Self {
            highest,
            ..Self::default()
        }
    }

    pub(super) fn highest(&self) -> Option<u64> {
        self.highest
    }

    pub(super) fn handle(&mut self, input: Input) {
        match input {
            Input::Opened(ticket, Some(Mandate::Act { token })) => self.opened(ticket, token),
            Input::Opened(ticket, None) => match self.highest {
                None => self.admit(ticket, None),
                Some(highest) => self.refuse(
                    ticket,
                    format!(
                        "the stream carries no fencing token, and the leader with token {highest} \
                         has been here: a manager without an election must not share this node \
                         with others"
                    ),
                ),
            },
            Input::Opened(ticket, Some(Mandate::Observe)) => {
                self.outputs.push_back(Output::Observe(ticket));
            }
            // `Mandate` may grow.
            Input::Opened(ticket, Some(_)) => {
                self.refuse(ticket, "the stream's mandate is not known here".to_owned());
            }
            Input::Ended(ticket) => drop(self.acting.remove(&ticket)),
        }
    }

    pub(super) fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    fn opened(&mut self, ticket: Ticket, token: u64) {
        match self.highest {
            Some(highest) if token < highest => self.refuse(
                ticket,
                format!(
                    "its fencing token {token} is older than {highest}, which this node has seen: a \
                     newer leader was elected, step down"
                ),
            ),
            Some(highest) if token == highest => self.admit(ticket, Some(token)),
            _ => {
                self.highest = Some(token);
                for (older, had) in std::mem::take(&mut self.acting) {
                    let had = had.map_or("no token".to_owned(), |had| format!("token {had}"));
                    let reason = format!("it was opened under {had}, and a leader with {token} came");
                    self.outputs.push_back(Output::End(older, reason));
                }
                self.admit(ticket, Some(token));
            }
        }
    }

    fn admit(&mut self, ticket: Ticket, token: Option<u64>) {
        self.acting.insert(ticket, token);
        self.outputs.push_back(Output::Admit(ticket, token));
    }

    fn refuse(&mut self, ticket: Ticket, reason: String) {
        self.outputs.push_back(Output::Refuse(ticket, reason));
    }
}

#[cfg(test)]
mod tests;
