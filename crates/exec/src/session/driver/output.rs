use futures::{FutureExt, StreamExt};
use longshore_core::{ExecOutput, Result, Timestamp};

use super::{Action, Driver, SessionCore};

/// From the process to the core, by way of the recorder.
impl Driver {
    /// Whether output is read now.
    ///
    /// While a piece is recorded, the next is read. But not for a client that is slow: what was read
    /// stands before the answer to a key. Nor while a size is to be set, which has its place behind
    /// all that was read before. Nor without a client: how far the process may go then is asked of
    /// the record each time.
    pub(super) fn reads(&self, core: &SessionCore) -> bool {
        let space = core.output_space();
        if space == 0 || !self.pending.is_empty() {
            return false;
        }
        if self.works.recording.is_none() {
            return true;
        }
        core.has_writer()
            && !has_its_place(core.peek_action())
            && space >= self.under_way
            && self.gathered.has_room()
            && self.behind.is_none()
    }

    /// When what was gathered is recorded, if nothing is being recorded.
    pub(super) fn record_due(&self, next: Option<Action>) -> Option<Timestamp> {
        let is_urgent = has_its_place(next) || self.behind.is_some() || !self.unrecorded.is_empty();
        match self.gathered.due() {
            Some(_) if is_urgent => Some(Timestamp::ZERO),
            due => due,
        }
    }

    pub(super) fn read(&mut self, piece: Option<Result<ExecOutput>>) {
        match piece {
            Some(Ok(piece)) if piece.bytes.is_empty() => {}
            Some(Ok(piece)) if self.recorder.is_none() => self.take_in(piece),
            Some(Ok(piece)) => self.gather(piece),
            // All output first.
            end if self.under_way > 0 || !self.gathered.is_empty() => self.behind = Some(end),
            end => {
                if let Some(Err(error)) = end {
                    tracing::debug!(session = %self.shared.id, error = error.chain(), "the output broke off");
                }
                self.output = None;
                self.shared.by_driver(SessionCore::output_ended);
            }
        }
    }

    /// Takes what is there already, without looking around between its pieces: an engine sends a
    /// flood in frames of a few thousand bytes.
    pub(super) fn read_on(&mut self) {
        for _ in 0..MOST_AT_ONCE {
            let reads = self.pending.is_empty()
                && self.recorder.is_none()
                && self.shared.look(|core, _| core.output_room()) > 0;
            let Some(output) = self.output.as_mut().filter(|_| reads) else {
                return;
            };
            let Some(piece) = output.next().now_or_never() else {
                return;
            };
            self.read(piece);
        }
    }

    /// A piece, with what is there already behind it, to be recorded in one: a recorder's way to the
    /// disk costs more than the few thousand bytes that an engine sends in a frame.
    fn gather(&mut self, piece: ExecOutput) {
        let (now, is_slow) = self
            .shared
            .look(|core, now| (now, core.is_reached_slowly()));
        let most = if is_slow {
            MOST_FOR_THE_SLOW
        } else {
            usize::MAX
        };
        self.behind = self.gathered.add(piece, now).map(|other| Some(Ok(other)));
        while let Some(output) = self.output.as_mut() {
            let is_enough = self.gathered.len() >= most || !self.gathered.has_room();
            if is_enough || self.behind.is_some() {
                break;
            }
            self.behind = match output.next().now_or_never() {
                None => break,
                Some(Some(Ok(piece))) => self.gathered.add(piece, now).map(|other| Some(Ok(other))),
                Some(end) => Some(end),
            };
        }
    }

    /// Gives output to the core, behind what waits for room there.
    pub(super) fn take_in(&mut self, piece: ExecOutput) {
        self.pending.push_back(piece);
        self.hand_over();
    }

    /// Gives output to the core as far as there is room.
    pub(super) fn hand_over(&mut self) {
        let pending = &mut self.pending;
        self.shared.by_driver(|core, now| {
            while let Some(piece) = pending.front_mut() {
                let room = core.output_room().min(piece.bytes.len());
                if room == 0 {
                    break;
                }
                core.output(piece.kind, &piece.bytes.split_to(room), now);
                if piece.bytes.is_empty() {
                    pending.pop_front();
                }
            }
        });
    }
}

/// It is recorded behind all output that was read before it.
fn has_its_place(next: Option<Action>) -> bool {
    matches!(next, Some(Action::Resize(_) | Action::Signal(_)))
}

const MOST_AT_ONCE: usize = 64;
/// What is recorded in one for a client that is reached slowly: it all stands before the next answer.
const MOST_FOR_THE_SLOW: usize = 64 << 10;
