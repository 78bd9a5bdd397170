//! A watch, and what its events add up to.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use futures::StreamExt;
use longshore_core::{
    Announcement, ClockExt, Discovery, Endpoint, MembershipEvent, MembershipStream, SystemClock,
};

pub struct Follow {
    stream: MembershipStream,
    pub known: BTreeMap<Endpoint, Announcement>,
    pub problems: Vec<String>,
}

impl Follow {
    pub async fn new(discovery: &Arc<dyn Discovery>) -> Self {
        let mut this = Self {
            stream: discovery.watch(),
            known: BTreeMap::new(),
            problems: Vec::new(),
        };
        this.step().await;
        this
    }

    pub async fn step(&mut self) {
        match self.stream.next().await.expect("a watch does not end") {
            MembershipEvent::Reset(nodes) => {
                self.known = nodes
                    .into_iter()
                    .map(|node| (node.endpoint.clone(), node))
                    .collect();
            }
            MembershipEvent::Added(node) => drop(self.known.insert(node.endpoint.clone(), node)),
            MembershipEvent::Removed(endpoint) => {
                let known = self.known.remove(&endpoint);
                assert!(known.is_some(), "{endpoint} was removed and not known");
            }
            MembershipEvent::Problem(error) => self.problems.push(error.chain()),
            _ => {}
        }
    }

    /// Takes events until `holds`; fails when that takes longer than a minute.
    #[track_caller]
    pub fn until<'a>(
        &'a mut self,
        what: &'static str,
        holds: impl Fn(&Self) -> bool + Send + 'a,
    ) -> impl Future<Output = ()> + 'a {
        let caller = std::panic::Location::caller();
        async move {
            let clock = SystemClock::new();
            let deadline = clock.now_after(Duration::from_secs(60));
            while !holds(self) {
                let step = clock.timeout_at(deadline, self.step()).await;
                assert!(
                    step,
                    "{caller}: {what} did not happen; known are {:?}, problems {:?}",
                    self.known.keys().collect::<Vec<_>>(),
                    self.problems
                );
            }
        }
    }

    /// Takes events for a while.
    pub async fn during(&mut self, time: Duration) {
        let clock = SystemClock::new();
        let deadline = clock.now_after(time);
        while clock.timeout_at(deadline, self.step()).await {}
    }

    pub fn numbers(&self) -> Vec<u16> {
        self.known.keys().map(Endpoint::port).collect()
    }
}

/// Deadlines over [`SystemClock`].
trait Deadline {
    fn now_after(&self, time: Duration) -> longshore_core::Timestamp;
    async fn timeout_at(
        &self,
        deadline: longshore_core::Timestamp,
        step: impl Future<Output = ()>,
    ) -> bool;
}

impl Deadline for SystemClock {
    fn now_after(&self, time: Duration) -> longshore_core::Timestamp {
        longshore_core::Clock::now(self).after(time)
    }

    async fn timeout_at(
        &self,
        deadline: longshore_core::Timestamp,
        step: impl Future<Output = ()>,
    ) -> bool {
        let left = deadline.since(longshore_core::Clock::now(self));
        tokio::select! {
            biased;
            () = step => true,
            () = self.sleep(left) => false,
        }
    }
}

/// Nodes by port, so that a number says which.
pub fn node(number: u16) -> Announcement {
    Announcement::new(Endpoint::new("10.0.0.1", number).unwrap())
}
