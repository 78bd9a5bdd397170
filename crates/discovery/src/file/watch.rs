//! Following the file: looks at it again and again, and tells what changed since the last look.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use futures::{StreamExt, stream};
use longshore_core::{ClockExt, MembershipEvent, MembershipStream, Timestamp};

use super::{FileWatch, Look, Shared, notice::Notices};
use crate::diff::{Nodes, news};

/// How long to wait behind a notice, for whoever writes the file to finish.
const SETTLE: Duration = Duration::from_millis(50);

pub(super) fn stream(shared: Arc<Shared>) -> MembershipStream {
    stream::unfold(Follower::new(shared), |mut follower| async move {
        let event = follower.next().await;
        Some((event, follower))
    })
    .boxed()
}

struct Follower {
    shared: Arc<Shared>,
    notices: Option<Notices>,
    due: VecDeque<MembershipEvent>,
    /// What the events so far add up to; `None` before the first set.
    told: Option<Nodes>,
    /// The problems told that still stand, to tell each only once.
    standing: Vec<String>,
    /// Whether the last look found nothing that could be read.
    failed: bool,
    /// When to look again; `None` before the first look.
    next_look: Option<Timestamp>,
}

impl Follower {
    fn new(shared: Arc<Shared>) -> Self {
        Self {
            shared,
            notices: None,
            due: VecDeque::new(),
            told: None,
            standing: Vec::new(),
            failed: false,
            next_look: None,
        }
    }

    async fn next(&mut self) -> MembershipEvent {
        loop {
            if let Some(event) = self.due.pop_front() {
                return event;
            }
            match self.next_look {
                Some(at) => self.wait(at).await,
                // Notices come first, so that no change falls between them and the first look.
                None if self.shared.options.watch == FileWatch::NotifyAndPoll => {
                    self.notices = Notices::open(&self.shared.path);
                }
                None => {}
            }
            let look = self.shared.look().await;
            self.take(look);
        }
    }

    async fn wait(&self, at: Timestamp) {
        let clock = &self.shared.clock;
        let Some(notices) = &self.notices else {
            return clock.sleep_until(at).await;
        };
        tokio::select! {
            () = clock.sleep_until(at) => {}
            () = notices.changed() => clock.sleep(SETTLE).await,
        }
    }

    fn take(&mut self, look: Look) {
        let poll = self.shared.clock.now().after(self.shared.options.interval);
        self.next_look = Some(look.deadline.map_or(poll, |deadline| deadline.min(poll)));
        let recovered = std::mem::replace(&mut self.failed, look.found.is_err()) && !self.failed;
        if let Some(nodes) = look.in_force {
            // Also when nothing changed: whoever took the set for stale must learn of it.
            let told = self.told.as_ref().filter(|_| !recovered);
            self.due.extend(news(told, &nodes));
            self.told = Some(nodes);
        }
        let problems = match look.found {
            Ok(bad) => bad.iter().map(|bad| self.shared.problem(bad)).collect(),
            Err(error) => vec![error],
        };
        let texts = problems
            .iter()
            .map(|problem| problem.message().to_owned())
            .collect();
        let before = std::mem::replace(&mut self.standing, texts);
        let new = problems
            .into_iter()
            .filter(|problem| !before.iter().any(|text| text == problem.message()));
        self.due.extend(new.map(MembershipEvent::Problem));
    }
}
