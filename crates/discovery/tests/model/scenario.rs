//! Runs steps against a store and against the model, while others watch, and compares.

use std::{sync::Arc, time::Duration};

use longshore_core::{
    Announcement, Clock, ClockExt, Discovery, ErrorKind, Expect, KvStore, PutOptions, Registration,
};
use longshore_discovery::{KvDiscovery, KvDiscoveryOptions};
use proptest::{prelude::*, test_runner::TestCaseResult};

use super::{
    oracle::{FIRST, Oracle, endpoint, text},
    steps::Step,
    watchers::Watchers,
};

/// One store, seen by who changes it and, over a connection that can be cut, by who watches.
pub struct World {
    pub near: Arc<dyn KvStore>,
    pub far: Arc<dyn KvStore>,
    pub clock: Arc<dyn Clock>,
    /// Cuts the far connection, or lets it be made again.
    pub set_reachable: Box<dyn Fn(bool) + Send + Sync>,
    pub prefix: String,
    pub grace: Duration,
    /// The short lease, and how long after its end it may still be seen.
    pub short: Duration,
    pub slack: Duration,
    /// How long one step takes.
    pub pace: Duration,
}

impl World {
    fn discovery(&self, store: &Arc<dyn KvStore>) -> KvDiscovery {
        let options = KvDiscoveryOptions::default()
            .with_prefix(&self.prefix)
            .with_grace(self.grace);
        KvDiscovery::new(store.clone(), self.clock.clone(), options).expect("a sound directory")
    }
}

/// Runs all steps. The view of who watched must be the store's in the end, the store must be the
/// model's, and every change must have been told in order.
pub async fn run(world: World, steps: Vec<Step>) -> TestCaseResult {
    let near = world.discovery(&world.near);
    let mut oracle = Oracle::new(near.directory());
    let first = Announcement::new(endpoint(FIRST));
    let value = first.endpoint.to_string();
    let key = oracle.key(FIRST);
    let write = world
        .near
        .put(&key, value.clone().into(), PutOptions::default());
    let from = write.await.expect("a store that answers");
    oracle.put(FIRST, value.clone(), Some(first));
    let far = world.discovery(&world.far);
    let watchers = Watchers::start(
        &far,
        world.far.clone(),
        near.directory(),
        (key, from, value),
        world.clock.clone(),
    );
    let mut run = Run {
        near,
        oracle,
        watchers,
        cut_for: None,
        world,
    };
    for step in steps {
        run.tend().await?;
        run.step(step).await?;
        run.world.clock.sleep(run.world.pace).await;
    }
    run.finish().await
}

struct Run {
    world: World,
    near: KvDiscovery,
    oracle: Oracle,
    watchers: Watchers,
    /// For how many more steps the watchers are cut off.
    cut_for: Option<u8>,
}

impl Run {
    /// Keeps short leases alive.
    async fn tend(&mut self) -> TestCaseResult {
        self.cut_for = match self.cut_for {
            Some(0) => {
                (self.world.set_reachable)(true);
                None
            }
            left => left.map(|left| left - 1),
        };
        for (number, registration) in self.oracle.short() {
            let left = registration.expires.since(self.world.clock.now());
            if left < registration.ttl / 2 {
                self.renew(number, &registration).await?;
            }
        }
        Ok(())
    }

    async fn renew(&mut self, number: u8, registration: &Registration) -> TestCaseResult {
        match self.near.renew(registration).await {
            Ok(renewed) => self.oracle.renewed(number, renewed),
            // A machine that stood still for a while loses leases.
            Err(error) => {
                prop_assert_eq!(error.kind(), ErrorKind::NotFound, "{:?}", error);
                let now = self.world.clock.now();
                prop_assert!(
                    now >= registration.expires,
                    "{:?} ended early",
                    registration
                );
                self.oracle.ended(number, &registration.handle);
            }
        }
        Ok(())
    }

    async fn step(&mut self, step: Step) -> TestCaseResult {
        match step {
            Step::Register { node, short } => {
                let announcement = self.oracle.next(node);
                let ttl = if short { self.world.short } else { LONG };
                let done = self.near.register(&announcement, ttl).await;
                let registration = done.expect("registered");
                self.oracle.registered(node, registration, short);
                if let Some(old) = self.oracle.too_many(node) {
                    let done = self.near.deregister(&old.registration).await;
                    done.expect("taken back");
                }
            }
            Step::Renew { node, last } => match self.oracle.held(node, last) {
                Some(held) if held.alive => self.renew(node, &held.registration).await?,
                Some(held) => {
                    let error = self.near.renew(&held.registration).await;
                    let kind = error.expect_err("its lease has ended").kind();
                    prop_assert_eq!(kind, ErrorKind::NotFound);
                }
                None => {}
            },
            Step::Deregister { node, last } => {
                if let Some(held) = self.oracle.held(node, last) {
                    let done = self.near.deregister(&held.registration).await;
                    done.expect("taken back");
                    self.oracle.ended(node, &held.registration.handle);
                }
            }
            Step::Put { node, plain: false } => {
                let announcement = self.oracle.next(node);
                let value = text(&announcement);
                self.put(node, value, Some(announcement)).await;
            }
            Step::Put { node, plain: true } => {
                let announcement = Announcement::new(endpoint(node));
                let value = announcement.endpoint.to_string();
                self.put(node, value, Some(announcement)).await;
            }
            Step::Spoil { node } => self.put(node, "{\"job\": 17}".to_owned(), None).await,
            Step::Delete { node } => {
                let key = self.oracle.key(node);
                let there = self.world.near.delete(&key, Expect::Any).await;
                prop_assert_eq!(there.expect("deleted"), self.oracle.deleted(node));
            }
            Step::Lapse => {
                let over = self.world.short + self.world.slack;
                self.world.clock.sleep(over).await;
                for (number, registration) in self.oracle.short() {
                    self.oracle.ended(number, &registration.handle);
                }
            }
            Step::Disconnect { steps } => {
                (self.world.set_reachable)(false);
                match steps {
                    0 if self.cut_for.is_none() => (self.world.set_reachable)(true),
                    steps => self.cut_for = self.cut_for.max(Some(steps)),
                }
            }
        }
        Ok(())
    }

    async fn put(&mut self, number: u8, value: String, node: Option<Announcement>) {
        let key = self.oracle.key(number);
        let written = self
            .world
            .near
            .put(&key, value.clone().into(), PutOptions::default())
            .await;
        written.expect("written");
        self.oracle.put(number, value, node);
    }

    async fn finish(mut self) -> TestCaseResult {
        (self.world.set_reachable)(true);
        // No short lease may end from here on.
        for (number, registration) in self.oracle.short() {
            self.near
                .deregister(&registration)
                .await
                .expect("taken back");
            self.oracle.ended(number, &registration.handle);
        }
        // Bad values: their nodes are as they were, the others are the store's.
        let spoilt = self.oracle.spoilt();
        let listed = self.near.list().await.expect("listed");
        let nodes = self.oracle.nodes();
        prop_assert!(
            listed.nodes.iter().eq(nodes.values()),
            "the store is not the model"
        );
        prop_assert_eq!(
            listed.problems.len(),
            spoilt.len(),
            "bad values are reported"
        );
        self.comes_true("the good nodes", |run| {
            let mut known = run.watchers.nodes.lock().unwrap().known.clone();
            for number in &spoilt {
                known.remove(&endpoint(*number));
            }
            known == nodes
        })
        .await?;
        // Mended, everything is the store's.
        for number in spoilt {
            let announcement = self.oracle.next(number);
            self.put(number, text(&announcement), Some(announcement))
                .await;
        }
        let (nodes, values) = (self.oracle.nodes(), self.oracle.values());
        self.comes_true("the view of nodes", |run| {
            run.watchers.nodes.lock().unwrap().known == nodes
        })
        .await?;
        self.comes_true("the view of keys", |run| {
            let keys = run.watchers.keys.lock().unwrap();
            let known = keys.known.iter();
            known
                .map(|(key, (_, value))| (key, value))
                .eq(values.iter())
        })
        .await?;
        // And stays so: nothing held comes late.
        self.world.clock.sleep(self.world.grace * 2).await;
        let seen = self.watchers.nodes.lock().unwrap();
        prop_assert_eq!(&seen.known, &nodes);
        prop_assert_eq!(&seen.wrong, &None);
        self.every_change_was_told_in_order()
    }

    async fn comes_true(&self, what: &str, holds: impl Fn(&Self) -> bool) -> TestCaseResult {
        let clock = &self.world.clock;
        let deadline = clock.now().after(PATIENCE);
        while !holds(self) {
            if clock.now() >= deadline {
                let nodes = self.watchers.nodes.lock().unwrap();
                return Err(TestCaseError::fail(format!(
                    "{what} did not become the store's: {nodes:?}, not {:?}",
                    self.oracle.values()
                )));
            }
            clock.sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }

    /// Every one, or, where the store has no history or said that something is missing, some of them
    /// in order and the last.
    fn every_change_was_told_in_order(&self) -> TestCaseResult {
        let keys = self.watchers.keys.lock().unwrap();
        prop_assert_eq!(&keys.wrong, &None);
        let every_change = self.world.far.capabilities().every_change && !keys.gap;
        for (key, made) in self.oracle.told() {
            // It was there before the watch began.
            let made = match *key == self.oracle.key(FIRST) {
                true => &made[1..],
                false => &made[..],
            };
            let told = keys.told.get(key).map_or(&[][..], Vec::as_slice);
            if every_change {
                prop_assert_eq!(told, made, "{}", key);
                continue;
            }
            let mut left = made.iter();
            let in_order = told.iter().all(|told| left.any(|made| made == told));
            prop_assert!(in_order, "{}: {:?} are not some of {:?}", key, told, made);
            // What came and went unseen needs no telling.
            let unseen = told.is_empty() && made.last().is_none_or(Option::is_none);
            prop_assert!(
                unseen || told.last() == made.last(),
                "{}: {:?}, {:?}",
                key,
                told,
                made
            );
        }
        Ok(())
    }
}

const LONG: Duration = Duration::from_secs(3600);
const PATIENCE: Duration = Duration::from_secs(120);
