//! One task that follows a backend, and any number of watches of what it found.

use std::{collections::VecDeque, future::Future, sync::Arc, sync::OnceLock};

use futures::{StreamExt, stream};
use longshore_core::{Error, MembershipEvent, MembershipStream};
use tokio::{sync::watch, task::AbortHandle};

use crate::diff::{Nodes, by_endpoint, news};

/// What is known, for all watches.
#[derive(Clone, Debug, Default)]
pub(crate) struct View {
    /// `None` before the first set.
    pub(crate) nodes: Option<Arc<Nodes>>,
    /// How often they were told as a whole.
    resets: u64,
    /// How many problems there were.
    problems: u64,
    /// The last one.
    problem: Option<Arc<Error>>,
    /// Whether it came after the nodes.
    problem_is_newest: bool,
}

impl View {
    pub(crate) fn set(&mut self, nodes: Nodes) {
        self.nodes = Some(Arc::new(nodes));
        self.problem_is_newest = false;
    }

    /// As [`set`](Self::set), by a backend that told the full set: so are watches.
    pub(crate) fn reset(&mut self, nodes: Nodes) {
        self.set(nodes);
        self.resets += 1;
    }

    pub(crate) fn add_problem(&mut self, problem: Error) {
        self.problems += 1;
        self.problem = Some(Arc::new(problem));
        self.problem_is_newest = true;
    }
}

/// Where a task puts its view. The task starts with the first watch and ends with the outlet.
#[derive(Debug, Default)]
pub(crate) struct Outlet {
    view: watch::Sender<View>,
    task: OnceLock<AbortHandle>,
}

impl Outlet {
    /// A watch. `keep` lives as long as it, and holds this outlet.
    pub(crate) fn watch<K, F, T>(
        &self,
        keep: Arc<K>,
        outlet: fn(&K) -> &Self,
        task: F,
    ) -> MembershipStream
    where
        K: Send + Sync + 'static,
        F: FnOnce(watch::Sender<View>) -> T + Send + 'static,
        T: Future<Output = ()> + Send + 'static,
    {
        // Started with the first poll, since a watch may be made outside of a runtime.
        let start = async move {
            let here = outlet(&keep);
            here.task
                .get_or_init(|| tokio::spawn(task(here.view.clone())).abort_handle());
            let follower = Follower {
                view: here.view.subscribe(),
                due: VecDeque::new(),
                told: None,
                resets: 0,
                problems: 0,
            };
            (keep, follower)
        };
        stream::once(start)
            .flat_map(|state| {
                stream::unfold(state, |(keep, mut follower)| async move {
                    let event = follower.next().await;
                    Some((event, (keep, follower)))
                })
            })
            .boxed()
    }
}

impl Drop for Outlet {
    fn drop(&mut self) {
        if let Some(task) = self.task.get() {
            task.abort();
        }
    }
}

/// One watch. It compares sets instead of queueing events, so a slow reader costs nothing.
struct Follower {
    view: watch::Receiver<View>,
    due: VecDeque<MembershipEvent>,
    told: Option<Arc<Nodes>>,
    resets: u64,
    problems: u64,
}

impl Follower {
    async fn next(&mut self) -> MembershipEvent {
        loop {
            if let Some(event) = self.due.pop_front() {
                return event;
            }
            let view = self.view.borrow_and_update().clone();
            self.look(view);
            // The outlet holds the sender, so this only ends with a change.
            if self.due.is_empty() && self.view.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    /// The newer of nodes and problem comes last. A watch that begins is told nothing of the past.
    fn look(&mut self, view: View) {
        let problem = (view.problems != self.problems)
            .then(|| view.problem.as_deref().map(retell))
            .flatten()
            .map(MembershipEvent::Problem);
        self.problems = view.problems;
        let (before, after) = match view.problem_is_newest {
            true => (None, problem),
            false => (problem.filter(|_| self.told.is_some()), None),
        };
        self.due.extend(before);
        if let Some(nodes) = view.nodes {
            let whole = std::mem::replace(&mut self.resets, view.resets) != view.resets;
            match &self.told {
                Some(told) if Arc::ptr_eq(told, &nodes) => {}
                told => {
                    let told = told.as_deref().filter(|_| !whole);
                    self.due.extend(news(told, &nodes));
                }
            }
            self.told = Some(nodes);
        }
        self.due.extend(after);
    }
}

/// The same error for one more listener: kind, texts and origin, without what lies below.
pub(crate) fn retell(error: &Error) -> Error {
    let mut told = Error::new(error.kind(), error.chain()).with_retryable(error.is_retryable());
    if let Some(backend) = error.backend() {
        told = told.with_backend(backend);
    }
    if let Some(operation) = error.operation() {
        told = told.with_operation(operation);
    }
    told
}

/// Takes a backend's event into a set. Says what problem it told of instead.
pub(crate) fn apply(known: &mut Option<Nodes>, event: MembershipEvent) -> Option<Error> {
    match event {
        MembershipEvent::Reset(nodes) => {
            *known = Some(by_endpoint(nodes));
        }
        MembershipEvent::Added(node) => {
            let known = known.get_or_insert_default();
            known.insert(node.endpoint.clone(), node);
        }
        MembershipEvent::Removed(endpoint) => {
            known.get_or_insert_default().remove(&endpoint);
        }
        MembershipEvent::Problem(error) => return Some(error),
        // `MembershipEvent` may grow.
        _ => {}
    }
    None
}
