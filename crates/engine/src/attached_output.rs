//! What an attachment reads: a workload's output as it comes, nothing left out.

use std::sync::Arc;

use longshore_core::{AttachRequest, ExecOutput, ExecOutputStream, ExitStatus, Result};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::{
    journal::{Holder, Journal, Read},
    lifecycle::{Phase, not_running},
    output_log::Output,
};

/// The run that an attachment belongs to: the present one, or else the next where that was asked for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AttachedRun(u64);

impl AttachedRun {
    pub(crate) fn of(phase: &Phase, request: &AttachRequest) -> Result<Self> {
        match phase.active || request.next_run {
            true => Ok(Self(phase.runs + u64::from(!phase.active))),
            false => Err(not_running("attach to")),
        }
    }

    pub(crate) fn is_over(self, phase: &Phase) -> bool {
        phase.gone || (!phase.active && phase.runs >= self.0)
    }

    /// How it ended, once it is over.
    pub(crate) fn exit(phase: &Phase) -> ExitStatus {
        phase
            .exit
            .clone()
            .unwrap_or_else(|| ExitStatus::unknown("the container was removed"))
    }
}

/// Reads from the end of the journal, or from its beginning, to the end of the run.
pub(crate) fn attached_output(
    journal: &Arc<Journal<Output>>,
    phase: watch::Receiver<Phase>,
    run: AttachedRun,
    backlog: bool,
    closed: CancellationToken,
) -> ExecOutputStream {
    let place = if backlog {
        journal.kept().0
    } else {
        journal.end()
    };
    let output = AttachedOutput {
        holder: journal.hold(place),
        journal: Arc::clone(journal),
        phase,
        run,
        place,
        closed,
    };
    Box::pin(futures::stream::unfold(output, |mut output| async move {
        let piece = output.next().await?;
        Some((Ok(piece), output))
    }))
}

struct AttachedOutput {
    journal: Arc<Journal<Output>>,
    /// Slows the workload down to this reader.
    holder: Holder<Output>,
    phase: watch::Receiver<Phase>,
    run: AttachedRun,
    place: u64,
    closed: CancellationToken,
}

impl AttachedOutput {
    async fn next(&mut self) -> Option<ExecOutput> {
        loop {
            if self.closed.is_cancelled() {
                return None;
            }
            // Read before the journal: all output of a run is there before its end is told.
            let over = self.run.is_over(&self.phase.borrow_and_update());
            match self.journal.read(self.place) {
                Read::Item(output, next) => {
                    self.place = next;
                    self.holder.advance(next);
                    return Some(ExecOutput {
                        kind: output.kind,
                        bytes: output.bytes,
                    });
                }
                Read::Missed(first) => self.place = first,
                Read::End if over => return None,
                Read::End => {
                    tokio::select! {
                        () = self.journal.reach(self.place) => {}
                        changed = self.phase.changed() => changed.ok()?,
                        () = self.closed.cancelled() => return None,
                    }
                }
            }
        }
    }
}
