//! Partitions between managers and their store, in network namespaces: at no moment two managers act,
//! as a third party records it, and nobody is removed by who is cut off.
//!
//! The store, each manager and the recorder have a network of their own. A manager takes part in the
//! election and, whenever it may, acts: it tells the recorder its token. Or the managers are the store.
#![cfg(all(
    feature = "etcd",
    feature = "consul",
    feature = "zookeeper",
    feature = "raft"
))]
#![expect(clippy::unwrap_used, reason = "a test may panic")]
#![expect(unreachable_pub, reason = "a program has no outside")]

#[path = "partitions/manager.rs"]
mod manager;
#[path = "partitions/members.rs"]
mod members;
#[path = "partitions/nodes.rs"]
mod nodes;
#[path = "partitions/recorder.rs"]
mod recorder;
#[path = "live/servers.rs"]
mod servers;
#[path = "live/subjects.rs"]
mod subjects;

use std::{thread, time::Duration};

use longshore_lab::{Lab, Store, StoreMember, StoreSpec};
use manager::Manager;
use recorder::Recorder;
use servers::Subject;

/// The hosts by what runs in them.
const STORE: usize = 0;
const A: usize = 1;
const B: usize = 2;

/// The managers' own nodes, by their hosts, and those that stay.
const ALL: [u16; 5] = [1, 2, 11, 12, 13];

/// Dropped from top to bottom.
struct Scene {
    managers: [Manager; 2],
    recorder: Recorder,
    store: Store,
    lab: Lab,
    ttl: Duration,
    /// How long what is under way may take to arrive.
    slack: Duration,
}

impl Scene {
    /// A leads. `None` if the machine can't run this; that is said and counted as skipped.
    fn start(subject: Subject) -> Option<Self> {
        let suite = format!("{} cut off from managers", subject.kind.as_str());
        if let Err(reason) = subject.kind.available() {
            longshore_lab::skip(&suite, &reason);
            return None;
        }
        let lab = Lab::builder().hosts(3).start_or_skip(&suite)?;
        let spec = StoreSpec::default().with_host(lab.host(STORE));
        let store = subject.start(&spec, &suite)?;
        let recorder = Recorder::start(lab.gateway());
        nodes::register(subject, &store.addresses());
        let start = |host: usize, name| {
            let who = (name, host as u16);
            let addresses = store.addresses();
            let connect = move || (subject.connect)(&addresses);
            Manager::start(
                lab.host(host),
                who,
                subject.lease,
                connect,
                recorder.address,
            )
        };
        let first = start(A, "a");
        recorder.wait_for("the first leader", || {
            recorder.last_actor() == Some("a".into())
        });
        let ttl = first.ttl();
        let managers = [first, start(B, "b")];
        let scene = Self {
            managers,
            recorder,
            store,
            lab,
            ttl,
            slack: subject.slack,
        };
        scene.see(&[A, B], &ALL);
        Some(scene)
    }

    /// Until these managers see these nodes.
    fn see(&self, managers: &[usize], nodes: &[u16]) {
        for host in managers {
            let manager = self.manager(*host);
            let what = format!("the view {nodes:?} of {}", manager.name());
            self.recorder.wait_for(&what, || manager.nodes() == nodes);
        }
    }

    fn manager(&self, host: usize) -> &Manager {
        &self.managers[host - A]
    }

    /// Until this manager is the one that acts, with a token above all before; no other leads then.
    fn acts(&self, host: usize, other: usize) {
        let (before, name) = (self.recorder.highest(), self.manager(host).name());
        self.recorder.wait_for(&format!("acts of {name}"), || {
            self.recorder.highest() > before && self.recorder.last_actor() == Some(name.into())
        });
        assert!(!self.manager(other).leads(), "two managers lead");
        self.recorder.check();
    }

    /// Until the first takes the second for the leader.
    fn follows(&self, host: usize, leader: usize) {
        let leader = self.manager(leader).name();
        self.recorder.wait_for("that the old leader follows", || {
            self.manager(host).follows().as_deref() == Some(leader)
        });
    }

    /// For two times to live nobody but this one acts, and its leadership is the same.
    fn only(&self, host: usize) {
        let (token, name) = (self.recorder.highest(), self.manager(host).name());
        let begin = self.recorder.count();
        thread::sleep(self.ttl * 2);
        let acts = self.recorder.since(begin);
        assert!(!acts.is_empty(), "nobody acts");
        for act in acts {
            assert_eq!((act.name.as_str(), act.token), (name, token));
        }
    }

    /// Until nobody acts any more; and for two times to live nobody does. The highest token until then.
    fn nobody(&self) -> u64 {
        let quiet = || !self.managers.iter().any(Manager::leads);
        self.recorder.wait_for("that nobody leads", quiet);
        thread::sleep(self.slack);
        let begin = self.recorder.count();
        thread::sleep(self.ttl * 2);
        assert_eq!(self.recorder.since(begin), []);
        self.recorder.highest()
    }

    /// Until somebody acts again, with a token above all `before`; it may act already.
    fn somebody(&self, before: u64) {
        self.recorder
            .wait_for("a leader", || self.recorder.highest() > before);
        self.recorder.check();
    }

    fn leader(&self) -> (usize, usize) {
        match self.recorder.last_actor().as_deref() {
            Some("a") => (A, B),
            _ => (B, A),
        }
    }
}

/// The leader can't reach the store, in both directions or in one: it stops before its lease can be
/// taken, the other leads, and when the cut is healed it follows.
fn cut_from_the_store(scene: &Scene) {
    let ways: [(bool, bool); 3] = [(true, true), (true, false), (false, true)];
    for (there, back) in ways {
        let (leader, other) = scene.leader();
        let cuts = [
            there.then(|| scene.lab.cut_one_way(leader, STORE).unwrap()),
            back.then(|| scene.lab.cut_one_way(STORE, leader).unwrap()),
        ];
        scene.acts(other, leader);
        // Its registration ended with its lease; who hears nothing removes nobody.
        let without: Vec<_> = ALL
            .into_iter()
            .filter(|node| *node != leader as u16)
            .collect();
        scene.see(&[other], &without);
        if back {
            assert_eq!(scene.manager(leader).nodes(), ALL, "it heard of nothing");
        }
        drop(cuts);
        scene.follows(leader, other);
        scene.see(&[A, B], &ALL);
        scene.only(other);
    }
}

/// Managers that don't hear each other, and both hear the store: nothing changes.
fn cut_from_each_other(scene: &Scene) {
    let (leader, _) = scene.leader();
    let cut = scene.lab.cut(A, B).unwrap();
    scene.only(leader);
    drop(cut);
    scene.only(leader);
}

/// Nobody can reach the store: nobody acts. Healed, one does.
fn both_cut_from_the_store(scene: &Scene) {
    let cuts = [A, B].map(|host| scene.lab.cut(host, STORE).unwrap());
    let before = scene.nobody();
    drop(cuts);
    scene.somebody(before);
}

/// The leader is cut off from everything, the recorder included. What it told while it led arrives
/// late; its token tells that.
fn isolated(scene: &Scene) {
    let (leader, other) = scene.leader();
    let isolated = scene.lab.isolate(leader).unwrap();
    scene.acts(other, leader);
    isolated.undo().unwrap();
    scene.follows(leader, other);
    thread::sleep(scene.slack);
    scene
        .recorder
        .check_but_for_late(scene.manager(leader).name());
}

/// The store is frozen, killed, and wiped.
fn store_faults(scene: &mut Scene) {
    scene.store.members().for_each(StoreMember::freeze);
    let before = scene.nobody();
    scene.store.members().for_each(StoreMember::thaw);
    scene.somebody(before);
    for wipe in [false, true] {
        scene.store.members().for_each(StoreMember::kill);
        let before = scene.nobody();
        for member in scene.store.members() {
            if wipe {
                member.wipe().unwrap();
            }
            member.launch().unwrap();
        }
        scene.store.await_ready().unwrap();
        scene.somebody(before);
    }
}

/// A minority of the store is lost and the leader goes on; with the majority nobody acts; back again,
/// one does.
fn quorum(scene: &mut Scene) {
    scene.store.member(0).kill();
    // Which may take an election of the store's own; the leader's lease lives through it or not.
    thread::sleep(scene.ttl * 2);
    scene.recorder.wait_for("somebody who leads", || {
        scene.managers.iter().any(Manager::leads)
    });
    scene.recorder.check();
    scene.store.member(1).kill();
    let before = scene.nobody();
    scene.store.member(0).launch().unwrap();
    scene.store.await_ready().unwrap();
    scene.somebody(before);
    scene.store.member(1).restart().unwrap();
}

fn partitions(subject: Subject) {
    let Some(mut scene) = Scene::start(subject) else {
        return;
    };
    cut_from_the_store(&scene);
    cut_from_each_other(&scene);
    both_cut_from_the_store(&scene);
    store_faults(&mut scene);
    if subject.members > 1 {
        quorum(&mut scene);
    }
    scene.recorder.check();
    isolated(&scene);
}

#[test]
fn l2_l3_no_two_managers_act_over_three_etcds() {
    partitions(subjects::THREE_ETCDS);
}

#[test]
fn l2_l3_no_two_managers_act_over_consul() {
    partitions(subjects::CONSUL);
}

#[test]
fn l2_l3_no_two_managers_act_over_zookeeper() {
    partitions(subjects::ZOOKEEPER);
}

/// Over the store that they replicate among themselves.
#[test]
fn l7_no_two_of_three_members_act() {
    members::partitions();
}
