use std::{mem, sync::Arc, time::Duration};

use bytes::Bytes;
use longshore_core::{ClockExt, ExecOutput, Result};

use super::{Driver, gathered::Gathered};
use crate::session::{
    EndReason, InputJudge, Notice, RecordEvent, Recorder, RuleAction, SessionAbout, SessionCore,
    SessionEnd, echo::EchoWitness,
};

/// What goes into the record, and what is kept from the process.
impl Driver {
    /// Lets a judge look at the input.
    pub(in super::super) fn guarded(mut self, judge: Option<Box<dyn InputJudge>>) -> Self {
        self.judge = judge;
        self
    }

    /// Keeps a record; `without` says that a failing one does not end the session.
    pub(in super::super) fn recording(
        mut self,
        recorder: Option<Arc<dyn Recorder>>,
        without: bool,
        about: SessionAbout,
    ) -> Self {
        (self.recorder, self.without_record) = (recorder, without);
        if self.recorder.is_some() {
            self.witness = about.records_input.then(EchoWitness::default);
            self.unrecorded
                .push_back(RecordEvent::Opened(Box::new(about)));
            self.begun = false;
        }
        self
    }

    /// What a judge leaves of the input.
    pub(super) fn judged(&mut self, bytes: Bytes) -> Bytes {
        let Some(judge) = &mut self.judge else {
            return bytes;
        };
        let judgement = judge.judge(bytes);
        for hit in judgement.hits {
            tracing::warn!(
                session = %self.shared.id,
                who = %self.shared.who.subject,
                rule = %hit.rule,
                action = %hit.action,
                "input met a rule"
            );
            let notice = match hit.action {
                RuleAction::Block => Some(Notice::InputBlocked),
                RuleAction::Ask => Some(Notice::InputAsked),
                RuleAction::Log | RuleAction::Alert => None,
            };
            if let Some(notice) = notice {
                self.shared.by_driver(|core, _| core.notify(notice));
            }
            self.note(RecordEvent::Hit(hit));
        }
        if let Some(end) = judgement.end {
            self.shared.by_driver(|core, now| core.terminate(end, now));
        }
        judgement.pass
    }

    pub(super) fn note(&mut self, event: RecordEvent) {
        if self.recorder.is_none() {
            return;
        }
        let is_hit = matches!(event, RecordEvent::Hit(_));
        if is_hit && self.unrecorded.len() >= MOST_UNRECORDED {
            tracing::warn!(session = %self.shared.id, "a rule was met too often to be recorded each time");
            return;
        }
        self.unrecorded.push_back(event);
    }

    fn note_output(&mut self, piece: &ExecOutput) {
        let waiting: usize = self.pending.iter().map(|piece| piece.bytes.len()).sum();
        let head = self.shared.look(|core, _| core.output_range().1);
        self.note(RecordEvent::Output {
            offset: head + waiting as u64,
            kind: piece.kind,
            bytes: piece.bytes.clone(),
        });
        if let Some(witness) = &mut self.witness {
            let decided = witness.shown(&piece.bytes);
            decided.into_iter().for_each(|event| self.note(event));
        }
    }

    /// Records what waits and is due, if nothing is under way; output is shown afterwards.
    pub(super) fn record(&mut self) {
        let Some(recorder) = self.recorder.clone() else {
            return;
        };
        if self.works.recording.is_some() {
            return;
        }
        let (now, next) = self.shared.look(|core, now| (now, core.peek_action()));
        if self.record_due(next).is_some_and(|due| now < due) {
            return;
        }
        let then = self.gathered.take();
        if let Some(piece) = &then {
            self.under_way = piece.bytes.len();
            self.note_output(piece);
        }
        if self.unrecorded.is_empty() {
            return;
        }
        let shared = Arc::clone(&self.shared);
        let events = mem::take(&mut self.unrecorded);
        self.works.recording = Some(Box::pin(async move {
            let all = async {
                for event in &events {
                    recorder
                        .record(&shared.id, shared.clock.now(), event)
                        .await?;
                }
                Ok(())
            };
            let result = shared
                .clock
                .timeout(RECORD_LIMIT, "the recorder", all)
                .await
                .and_then(|result| result);
            (then, result)
        }));
    }

    pub(super) fn recorded(&mut self, piece: Option<ExecOutput>, result: Result<()>) {
        self.under_way = 0;
        self.begun |= result.is_ok() || self.without_record;
        if let Err(error) = result {
            tracing::warn!(session = %self.shared.id, error = error.chain(), "a session could not be recorded");
            if !self.without_record {
                let end = SessionEnd::new(EndReason::EndedByOperator)
                    .with_text("the session could not be recorded");
                self.shared.by_driver(|core, now| core.terminate(end, now));
                // What was not recorded is not shown; and nothing is recorded behind it but the end:
                // nobody knows whether the piece is there, so nobody knows the next one's offset.
                self.gathered = Gathered::default();
                (self.output, self.behind) = (None, None);
                self.unrecorded.clear();
                return self.shared.by_driver(SessionCore::output_ended);
            }
        }
        if let Some(piece) = piece {
            self.shared.note_reach();
            self.take_in(piece);
        }
    }
}

const RECORD_LIMIT: Duration = Duration::from_secs(10);
/// How many hits may wait for the recorder.
const MOST_UNRECORDED: usize = 64;
