//! Following changes, from what this member has applied.

use std::{collections::VecDeque, sync::Arc, sync::Weak};

use futures::{StreamExt, stream};
use longshore_core::{Error, KvEvent, KvWatch, Result, Revision};
use tokio::sync::watch;

use super::driver::{Progress, Shared};
use crate::memory_kv::Told;

/// One watch: a place in the history.
struct Follower {
    shared: Weak<Shared>,
    progress: watch::Receiver<Progress>,
    prefix: String,
    /// Everything up to here was told or is due.
    behind: Revision,
    due: VecDeque<KvEvent>,
    /// Whether the outage was told.
    told: bool,
}

pub(super) fn watch(shared: &Arc<Shared>, prefix: &str, from: Option<Revision>) -> KvWatch {
    let follower = Follower {
        progress: shared.progress(),
        behind: from.unwrap_or_else(|| shared.look(|node| node.machine().store.revision())),
        shared: Arc::downgrade(shared),
        prefix: prefix.to_owned(),
        due: VecDeque::new(),
        told: false,
    };
    stream::unfold(follower, |mut follower| async move {
        let event = follower.next().await?;
        Some((event, follower))
    })
    .boxed()
}

impl Follower {
    async fn next(&mut self) -> Option<Result<KvEvent>> {
        loop {
            if let Some(event) = self.due.pop_front() {
                return Some(Ok(event));
            }
            let progress = *self.progress.borrow_and_update();
            // The store's last client is gone, or its disk.
            let shared = self.shared.upgrade().filter(|_| !progress.has_ended)?;
            let (told, revision) = shared.look(|node| {
                let store = &node.machine().store;
                (
                    store.changes_after(self.behind, &self.prefix),
                    store.revision(),
                )
            });
            match told {
                Told::Events { events, up_to } => {
                    self.behind = up_to;
                    self.due = events;
                }
                // Not here yet, or it never was: the others know.
                Told::Forgotten { .. } if self.behind > revision => {
                    if shared
                        .call(|node, now| node.confirm(None, now))
                        .await
                        .is_ok()
                    {
                        let now_at = shared.look(|node| node.machine().store.revision());
                        if self.behind > now_at {
                            self.behind = now_at;
                            self.due.push_back(KvEvent::Resync(now_at));
                        }
                        continue;
                    }
                }
                Told::Forgotten { now_at } => {
                    self.behind = now_at;
                    self.due.push_back(KvEvent::Resync(now_at));
                }
            }
            if !self.due.is_empty() {
                continue;
            }
            if !progress.is_led && !std::mem::replace(&mut self.told, true) {
                let why = "no leader among the managers: changes may come late";
                return Some(Err(Error::unavailable(why).with_backend("raft")));
            }
            self.told &= !progress.is_led;
            drop(shared);
            self.progress.changed().await.ok()?;
        }
    }
}
