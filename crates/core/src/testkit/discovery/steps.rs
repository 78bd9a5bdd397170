//! What the rules are made of.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use futures::StreamExt;

use crate::{Announcement, Discovery, Endpoint, MembershipEvent, MembershipStream};

use super::Harness;

/// Nodes by number.
pub(super) fn node(number: u8) -> Announcement {
    let endpoint = Endpoint::new(format!("10.0.0.{number}"), 2375).expect("a sound address");
    Announcement::new(endpoint)
}

pub(super) fn endpoints(numbers: &[u8]) -> Vec<Endpoint> {
    let mut endpoints: Vec<_> = numbers
        .iter()
        .map(|number| node(*number).endpoint)
        .collect();
    endpoints.sort();
    endpoints
}

/// A lease that no rule outlives.
pub(super) const LONG: Duration = Duration::from_secs(24 * 3600);

/// A client of a cluster of these nodes.
pub(super) async fn cluster<H: Harness>(harness: &H, numbers: &[u8]) -> Arc<dyn Discovery> {
    let nodes: Vec<_> = numbers.iter().map(|number| node(*number)).collect();
    let client = harness.discovery().await;
    if client.capabilities().register {
        for node in &nodes {
            client.register(node, LONG).await.expect("registered");
        }
        return client;
    }
    harness.place(&nodes).await;
    harness.discovery().await
}

/// Makes the cluster consist of `to` instead of `from`.
pub(super) async fn change<H: Harness>(
    harness: &H,
    client: &Arc<dyn Discovery>,
    from: &[u8],
    to: &[u8],
) {
    if !client.capabilities().register {
        let nodes: Vec<_> = to.iter().map(|number| node(*number)).collect();
        return harness.place(&nodes).await;
    }
    for number in to.iter().filter(|number| !from.contains(number)) {
        client
            .register(&node(*number), LONG)
            .await
            .expect("registered");
    }
    for number in from.iter().filter(|number| !to.contains(number)) {
        // Registered again to get hold of it: the entry is replaced.
        let registration = client
            .register(&node(*number), LONG)
            .await
            .expect("registered");
        client.deregister(&registration).await.expect("taken back");
    }
}

pub(super) async fn listed(client: &Arc<dyn Discovery>) -> Vec<Endpoint> {
    let membership = client.list().await.expect("a healthy backend lists");
    membership
        .nodes
        .into_iter()
        .map(|node| node.endpoint)
        .collect()
}

/// A watch with what its events add up to.
pub(super) struct Watcher {
    pub(super) stream: MembershipStream,
    pub(super) known: BTreeMap<Endpoint, Announcement>,
    pub(super) problems: usize,
    pub(super) changes: usize,
    pub(super) resets: usize,
}

impl Watcher {
    /// Opens a watch, whose first event must be a full set.
    pub(super) async fn open<H: Harness>(harness: &H, client: &Arc<dyn Discovery>) -> Self {
        let mut watcher = Self {
            stream: client.watch(),
            known: BTreeMap::new(),
            problems: 0,
            changes: 0,
            resets: 0,
        };
        let first = tokio::select! {
            biased;
            event = watcher.stream.next() => event.expect("a watch has a first event"),
            () = harness.pass(harness.settle()) => panic!("a watch gave no first event"),
        };
        assert!(
            matches!(first, MembershipEvent::Reset(_)),
            "a watch began with {first:?}"
        );
        watcher.apply(first);
        watcher.changes = 0;
        watcher
    }

    pub(super) fn apply(&mut self, event: MembershipEvent) {
        if !matches!(event, MembershipEvent::Problem(_)) {
            self.changes += 1;
        }
        match event {
            MembershipEvent::Reset(nodes) => {
                self.resets += 1;
                self.known = nodes
                    .into_iter()
                    .map(|node| (node.endpoint.clone(), node))
                    .collect();
            }
            MembershipEvent::Added(node) => drop(self.known.insert(node.endpoint.clone(), node)),
            MembershipEvent::Removed(endpoint) => {
                let known = self.known.remove(&endpoint);
                assert!(
                    known.is_some(),
                    "{endpoint} was removed without having been there"
                );
            }
            MembershipEvent::Problem(_) => self.problems += 1,
        }
    }

    /// Takes events for as long as changes need to be seen.
    pub(super) async fn settle<H: Harness>(&mut self, harness: &H) {
        let mut pass = harness.pass(harness.settle());
        let mut ended = false;
        loop {
            tokio::select! {
                biased;
                event = self.stream.next(), if !ended => match event {
                    Some(event) => self.apply(event),
                    None => ended = true,
                },
                () = &mut pass => return,
            }
        }
    }

    pub(super) fn endpoints(&self) -> Vec<Endpoint> {
        self.known.keys().cloned().collect()
    }
}
