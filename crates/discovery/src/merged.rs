#![deny(clippy::missing_trait_methods)]

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use futures::{StreamExt, future::join_all, stream};
use longshore_core::{
    Announcement, Clock, Discovery, DiscoveryCapabilities, Error, Membership, MembershipEvent,
    MembershipStream, Registration, Result, Timestamp, WatchMode,
};
use tokio::sync::watch;

use crate::{
    diff::{Nodes, by_endpoint},
    outlet::{Outlet, View, apply, retell},
};

/// Several backends as one: while a cluster moves from one to another, or where some nodes are
/// listed by hand and others register.
///
/// A node is in it while any backend has it; of two with the same endpoint the earlier backend's
/// counts. A backend that can't be read removes nothing: its last good nodes stay, and the problem
/// is told. Only if none can be read, reading fails. Nodes register with the first backend that
/// takes registrations.
#[derive(Clone)]
pub struct MergedDiscovery {
    shared: Arc<Shared>,
}

struct Shared {
    members: Vec<Arc<dyn Discovery>>,
    clock: Arc<dyn Clock>,
    outlet: Outlet,
    /// What each member last said, in a list or a watch.
    last: Arc<Mutex<Vec<Option<Nodes>>>>,
}

impl MergedDiscovery {
    /// Of these, the first with the highest precedence.
    ///
    /// # Errors
    /// There is none.
    pub fn new(members: Vec<Arc<dyn Discovery>>, clock: Arc<dyn Clock>) -> Result<Self> {
        if members.is_empty() {
            return Err(Error::invalid(
                "a merged discovery needs at least one backend",
            ));
        }
        let last = Arc::new(Mutex::new(vec![None; members.len()]));
        let outlet = Outlet::default();
        Ok(Self {
            shared: Arc::new(Shared {
                members,
                clock,
                outlet,
                last,
            }),
        })
    }

    fn registrar(&self) -> Result<(usize, &Arc<dyn Discovery>)> {
        let members = self.shared.members.iter().enumerate();
        let found = members
            .into_iter()
            .find(|(_, it)| it.capabilities().register);
        found.ok_or_else(|| crate::not_implemented("merged"))
    }

    /// Whose registration it is, and as that one knows it.
    fn origin(&self, registration: &Registration) -> Result<(usize, Registration)> {
        let foreign = || Error::invalid("the registration is not one of this merged discovery");
        let (index, handle) = registration.handle.split_once(':').ok_or_else(foreign)?;
        let index: usize = index.parse().map_err(|_| foreign())?;
        if index >= self.shared.members.len() {
            return Err(foreign());
        }
        Ok((index, with_handle(registration, handle.to_owned())))
    }
}

fn with_handle(registration: &Registration, handle: String) -> Registration {
    Registration::new(
        registration.announcement.clone(),
        registration.ttl,
        registration.expires,
        handle,
    )
}

fn marked(index: usize, registration: &Registration) -> Registration {
    with_handle(registration, format!("{index}:{}", registration.handle))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Earlier ones count.
fn union<'a>(sets: impl DoubleEndedIterator<Item = &'a Nodes>) -> Nodes {
    sets.rev().fold(Nodes::new(), |mut all, set| {
        all.extend(set.iter().map(|(key, node)| (key.clone(), node.clone())));
        all
    })
}

#[async_trait]
impl Discovery for MergedDiscovery {
    fn capabilities(&self) -> DiscoveryCapabilities {
        let all = self.shared.members.iter().map(|it| it.capabilities());
        let watch = all.clone().map(|it| it.watch).reduce(livelier);
        let watch = watch.unwrap_or(WatchMode::Fixed);
        match self.registrar() {
            Err(_) => DiscoveryCapabilities::read_only(watch),
            Ok((_, member)) => {
                let able = DiscoveryCapabilities::registering(watch);
                match member.capabilities().metadata {
                    true => able.with_metadata(),
                    false => able,
                }
            }
        }
    }

    fn describe(&self) -> String {
        let all = self.shared.members.iter().map(|it| it.describe());
        all.collect::<Vec<_>>().join(" + ")
    }

    async fn register(&self, node: &Announcement, ttl: Duration) -> Result<Registration> {
        let (index, member) = self.registrar()?;
        let done = member.register(node, ttl).await?;
        Ok(marked(index, &done))
    }

    async fn renew(&self, registration: &Registration) -> Result<Registration> {
        self.registrar()?;
        let (index, registration) = self.origin(registration)?;
        let done = self.shared.members[index].renew(&registration).await?;
        Ok(marked(index, &done))
    }

    async fn deregister(&self, registration: &Registration) -> Result<()> {
        self.registrar()?;
        let (index, registration) = self.origin(registration)?;
        self.shared.members[index].deregister(&registration).await
    }

    async fn list(&self) -> Result<Membership> {
        let found = join_all(self.shared.members.iter().map(|it| it.list())).await;
        let mut problems = Vec::new();
        let mut failed = Vec::new();
        let mut last = lock(&self.shared.last);
        for (index, found) in found.into_iter().enumerate() {
            match found {
                Ok(found) => {
                    problems.extend(found.problems);
                    last[index] = Some(by_endpoint(found.nodes));
                }
                Err(error) => failed.push(error),
            }
        }
        if failed.len() == self.shared.members.len() {
            return Err(failed.swap_remove(0));
        }
        let nodes = union(last.iter().flatten());
        drop(last);
        problems.extend(failed);
        Ok(Membership::new(nodes.into_values().collect(), problems))
    }

    fn watch(&self) -> MembershipStream {
        let members = self.shared.members.clone();
        let (clock, last) = (self.shared.clock.clone(), self.shared.last.clone());
        let task = move |view| follow(members, last, clock, view);
        let keep = self.shared.clone();
        self.shared
            .outlet
            .watch(keep, |shared| &shared.outlet, task)
    }
}

impl fmt::Debug for MergedDiscovery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("MergedDiscovery")
            .field(&self.shared.members)
            .finish()
    }
}

fn livelier(a: WatchMode, b: WatchMode) -> WatchMode {
    match (a, b) {
        (WatchMode::Push, _) | (_, WatchMode::Push) => WatchMode::Push,
        (WatchMode::Poll(a), WatchMode::Poll(b)) => WatchMode::Poll(a.min(b)),
        (WatchMode::Poll(every), _) | (_, WatchMode::Poll(every)) => WatchMode::Poll(every),
        _ => WatchMode::Fixed,
    }
}

/// How long a member that says nothing holds up the first set.
const PATIENCE: Duration = Duration::from_secs(10);

async fn follow(
    members: Vec<Arc<dyn Discovery>>,
    last: Arc<Mutex<Vec<Option<Nodes>>>>,
    clock: Arc<dyn Clock>,
    view: watch::Sender<View>,
) {
    let streams = members.iter().enumerate().map(|(index, member)| {
        let events = member.watch().map(move |event| (index, event));
        // A fixed backend may end; that is no news.
        events.chain(stream::pending()).boxed()
    });
    let mut events = stream::select_all(streams);
    let mut known: Vec<Option<Nodes>> = vec![None; members.len()];
    let mut heard = vec![false; members.len()];
    let mut failing = vec![false; members.len()];
    let mut patience: Option<Timestamp> = Some(clock.now().after(PATIENCE));
    loop {
        let (index, event) = tokio::select! {
            biased;
            Some(next) = events.next() => next,
            () = wait(&*clock, patience) => {
                patience = None;
                publish(&known, &view, false);
                continue;
            }
        };
        heard[index] = true;
        match &event {
            MembershipEvent::Reset(_) => failing[index] = false,
            MembershipEvent::Problem(error) => failing[index] |= error.is_retryable(),
            _ => {}
        }
        // The outage is over when every member's is.
        let whole = matches!(event, MembershipEvent::Reset(_)) && !failing.contains(&true);
        let told = apply(&mut known[index], event);
        let new = told.is_none();
        if let Some(error) = told {
            view.send_modify(|view| view.add_problem(retell(&error)));
        } else {
            lock(&last)[index].clone_from(&known[index]);
        }
        if heard.iter().all(|heard| *heard) && (new || patience.is_some()) || patience.is_none() {
            patience = None;
            publish(&known, &view, whole);
        }
    }
}

/// `whole`: as a full set, because a member told one.
fn publish(known: &[Option<Nodes>], view: &watch::Sender<View>, whole: bool) {
    let nodes = union(known.iter().flatten());
    view.send_modify(|view| match whole {
        true => view.reset(nodes),
        false if view.nodes.as_deref() != Some(&nodes) => view.set(nodes),
        false => {}
    });
}

async fn wait(clock: &dyn Clock, until: Option<Timestamp>) {
    match until {
        Some(at) => clock.sleep_until(at).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests;
