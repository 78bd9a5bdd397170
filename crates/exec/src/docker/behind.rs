//! What is done behind a command's session.

use std::{sync::Arc, time::Duration};

use longshore_core::{ClockExt, SessionId, WorkloadId};
use tokio_util::sync::CancellationToken;

use super::{
    context::Context,
    keeper::{Keeper, begun},
    lifeline::Hold,
    link::Link,
};
use crate::cleanup::LATE_START;

/// Has the session's processes ended when it is over, however that came, and sees to it that it
/// worked.
pub(super) struct Behind {
    pub(super) context: Context,
    pub(super) workload: WorkloadId,
    pub(super) session: SessionId,
    pub(super) link: Link,
    /// Set when the end is known.
    pub(super) over: CancellationToken,
    pub(super) lifeline: Option<Arc<Hold>>,
    pub(super) keeper: Option<Arc<Keeper>>,
}

impl Behind {
    pub(super) async fn run(self) {
        let left_alone = tokio::select! {
            () = self.link.closed().cancelled() => true,
            () = self.link.ended().cancelled() => false,
            () = self.over.cancelled() => false,
        };
        // Where the engine has ended the stream it has learned of the end; and what nobody ends may
        // run on.
        let is_ended = left_alone && (self.keeper.is_some() || self.lifeline.is_some());
        let telling = async {
            if is_ended {
                let untold = self.context.starts.untold(&self.workload);
                untold.until_told(&self.context.api, &self.session).await;
            }
        };
        tokio::join!(telling, self.clean(left_alone));
    }

    async fn clean(&self, left_alone: bool) {
        let clock = &*self.context.api.clock;
        match (&self.keeper, &self.lifeline) {
            (Some(keeper), _) if left_alone => {
                keeper.end();
                let letting_go = async {
                    tokio::select! {
                        () = keeper.acted() => {}
                        () = self.link.drip(clock) => {}
                        () = clock.sleep(LET_GO) => {}
                    }
                    self.link.close();
                };
                tokio::join!(keeper.clean(), letting_go);
            }
            (Some(keeper), _) => {
                keeper.clean().await;
            }
            (None, Some(lifeline)) => self.end_foreground(lifeline, left_alone).await,
            (None, None) => {}
        }
    }

    /// What is in the foreground ends, and nobody looks whether it did.
    async fn end_foreground(&self, lifeline: &Hold, left_alone: bool) {
        let api = &self.context.api;
        // Whoever has begun by now waits for no answer of the engine.
        drop(lifeline.end());
        if left_alone {
            api.clock.sleep(LONGEST_PAUSE).await;
            self.link.close();
        }
        let until = api.clock.now().after(LATE_START);
        let mut pause = SHORTEST_PAUSE;
        let mut is_late = false;
        while !begun(api, &self.session).await && api.clock.now() < until {
            is_late = true;
            api.clock.sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
        drop(lifeline.end());
        if is_late {
            // It may have been about to become the command.
            api.clock.sleep(LONGEST_PAUSE).await;
            drop(lifeline.end());
        }
        lifeline.leave();
    }
}

/// How long a stream that nobody takes is held behind its end, if nobody says that what floods it has
/// been ended: longer than that takes.
const LET_GO: Duration = Duration::from_secs(5);
const SHORTEST_PAUSE: Duration = Duration::from_millis(2);
const LONGEST_PAUSE: Duration = Duration::from_millis(500);
