//! A backend that has to be asked: reads again and again, believes in departures on evidence only,
//! and tells watches what changed.

use std::{collections::VecDeque, fmt::Debug, sync::Arc, sync::Mutex, time::Duration};

use async_trait::async_trait;
use futures::{StreamExt, stream};
use longshore_core::{
    Announcement, Backoff, Clock, Error, Membership, MembershipEvent, MembershipStream, Random,
    Result, Timestamp,
};

use crate::{
    abort_on_drop::AbortOnDrop,
    diff::{Nodes, by_endpoint, news},
    evidence::{Evidence, Reading},
};

/// What one reading found.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) nodes: Vec<Announcement>,
    /// Single bad entries. While there are any, nobody is removed.
    pub(crate) problems: Vec<Error>,
    /// Where to wait for changes from, if the source can.
    pub(crate) cursor: Option<String>,
    /// When to read again, if the source says so.
    pub(crate) again: Option<Duration>,
}

/// Where nodes are read from.
#[async_trait]
pub(crate) trait Source: Debug + Send + Sync + 'static {
    /// Everything that is there now.
    async fn read(&self) -> Result<Found>;

    /// Ends when there is something new behind the cursor, or may be. Cancel safe.
    async fn changed(&self, cursor: &str) -> Result<()>;
}

#[derive(Debug)]
pub(crate) struct Polled {
    pub(crate) source: Arc<dyn Source>,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
    interval: Duration,
    evidence: Mutex<Evidence>,
    /// One reading at a time, so that an old one never comes behind a new one.
    turn: tokio::sync::Mutex<()>,
}

struct Look {
    found: Result<Found>,
    in_force: Option<Nodes>,
    held_until: Option<Timestamp>,
}

impl Polled {
    pub(crate) fn new(
        source: Arc<dyn Source>,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
        interval: Duration,
    ) -> Arc<Self> {
        Arc::new(Self {
            source,
            clock,
            random,
            interval,
            evidence: Mutex::new(Evidence::new(interval)),
            turn: tokio::sync::Mutex::new(()),
        })
    }

    /// Runs in a task of its own, so that a watch that nobody reads on never keeps the turn.
    async fn look(self: &Arc<Self>) -> Look {
        let shared = self.clone();
        let task = tokio::spawn(async move {
            let _turn = shared.turn.lock().await;
            shared.read().await
        });
        let _ends_with_us = AbortOnDrop(task.abort_handle());
        task.await.unwrap_or_else(|error| Look {
            found: Err(Error::internal("reading the nodes broke off").with_source(error)),
            in_force: None,
            held_until: None,
        })
    }

    async fn read(&self) -> Look {
        let found = self.source.read().await;
        let reading = match &found {
            Ok(found) => {
                let nodes = by_endpoint(found.nodes.iter().cloned());
                match found.problems.is_empty() {
                    true => Reading::Complete(nodes),
                    false => Reading::Partial(nodes),
                }
            }
            Err(_) => Reading::Failed,
        };
        let now = self.clock.now();
        let evidence = self.evidence.lock();
        let mut evidence = evidence.unwrap_or_else(std::sync::PoisonError::into_inner);
        evidence.handle(reading, now);
        Look {
            found,
            in_force: evidence.in_force().cloned(),
            held_until: evidence.next_deadline(),
        }
    }

    /// What is there now. A complete reading is taken as it is, also while watches hold a mass
    /// departure back; from one with bad entries nobody is missing who was there.
    pub(crate) async fn list(self: &Arc<Self>) -> Result<Membership> {
        let look = self.look().await;
        let found = look.found?;
        if found.problems.is_empty() {
            return Ok(Membership::new(found.nodes, Vec::new()));
        }
        let nodes = look.in_force.unwrap_or_default();
        Ok(Membership::new(
            nodes.into_values().collect(),
            found.problems,
        ))
    }

    pub(crate) fn watch(self: &Arc<Self>) -> MembershipStream {
        let follower = Follower {
            shared: self.clone(),
            due: VecDeque::new(),
            told: None,
            standing: Vec::new(),
            failed: false,
            wait: Wait::No,
            backoff: Backoff::new(self.interval.min(Duration::from_secs(1)), self.interval),
        };
        stream::unfold(follower, |mut follower| async move {
            let event = follower.next().await;
            Some((event, follower))
        })
        .boxed()
    }
}

/// What to wait for before looking again.
#[derive(Clone, Debug)]
enum Wait {
    No,
    Until(Timestamp),
    Change {
        cursor: String,
        until: Option<Timestamp>,
    },
}

struct Follower {
    shared: Arc<Polled>,
    due: VecDeque<MembershipEvent>,
    told: Option<Nodes>,
    /// The problems told that still stand, to tell each only once.
    standing: Vec<String>,
    /// Whether the last look could not read.
    failed: bool,
    wait: Wait,
    backoff: Backoff,
}

impl Follower {
    async fn next(&mut self) -> MembershipEvent {
        loop {
            if let Some(event) = self.due.pop_front() {
                return event;
            }
            self.wait().await;
            let look = self.shared.look().await;
            self.take(look);
        }
    }

    async fn wait(&mut self) {
        let clock = self.shared.clock.clone();
        match self.wait.clone() {
            Wait::No => {}
            Wait::Until(at) => clock.sleep_until(at).await,
            Wait::Change { cursor, until } => {
                let limit = async {
                    match until {
                        Some(at) => clock.sleep_until(at).await,
                        None => std::future::pending().await,
                    }
                };
                let changed = tokio::select! {
                    changed = self.shared.source.changed(&cursor) => changed,
                    () = limit => Ok(()),
                };
                if changed.is_err() {
                    let pause = self.backoff.next_delay(&*self.shared.random);
                    clock.sleep_until(clock.now().after(pause)).await;
                }
            }
        }
        self.wait = Wait::No;
    }

    fn take(&mut self, look: Look) {
        let now = self.shared.clock.now();
        let recovered = std::mem::replace(&mut self.failed, look.found.is_err()) && !self.failed;
        if let Some(nodes) = look.in_force {
            let told = self.told.as_ref().filter(|_| !recovered);
            self.due.extend(news(told, &nodes));
            self.told = Some(nodes);
        }
        let (problems, wait) = match look.found {
            Ok(found) => {
                self.backoff.reset();
                let every = found.again.unwrap_or(self.shared.interval);
                let wait = match (found.cursor, look.held_until) {
                    (Some(cursor), until) => Wait::Change { cursor, until },
                    (None, None) => Wait::Until(now.after(every)),
                    (None, Some(at)) => Wait::Until(at.min(now.after(every))),
                };
                (found.problems, wait)
            }
            Err(error) => {
                let pause = self.backoff.next_delay(&*self.shared.random);
                (vec![error], Wait::Until(now.after(pause)))
            }
        };
        self.wait = wait;
        let texts = problems.iter().map(ToString::to_string).collect();
        let before = std::mem::replace(&mut self.standing, texts);
        let new = problems
            .into_iter()
            .filter(|problem| !before.contains(&problem.to_string()));
        self.due.extend(new.map(MembershipEvent::Problem));
    }
}
