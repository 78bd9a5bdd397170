//! Three managers that are members of the store on which they elect.

use std::{net::Ipv4Addr, path::Path, thread, time::Duration};

use longshore_discovery::{DiscoveryOptions, open_kv};
use longshore_lab::Lab;

use crate::{manager::Manager, recorder::Recorder, servers::clock};

const NAMES: [&str; 3] = ["a", "b", "c"];
const LEASE: Duration = Duration::from_secs(3);
/// How long what is under way may take to arrive.
const SLACK: Duration = Duration::from_millis(1200);

/// Dropped from top to bottom.
struct Scene {
    managers: Vec<Manager>,
    recorder: Recorder,
    lab: Lab,
    _directory: tempfile::TempDir,
}

impl Scene {
    fn start() -> Option<Self> {
        let lab = Lab::builder()
            .hosts(NAMES.len())
            .start_or_skip("members cut off from each other")?;
        let directory = tempfile::tempdir().unwrap();
        let recorder = Recorder::start(lab.gateway());
        let hosts: Vec<_> = (0..NAMES.len()).map(|host| lab.host(host)).collect();
        let addresses: Vec<_> = hosts.iter().map(|host| host.address()).collect();
        let managers = hosts.iter().enumerate().map(|(number, host)| {
            let url = url(number, &addresses, directory.path());
            let become_member = move || {
                let options = DiscoveryOptions::new(clock());
                let options = options.with_pairs(["raft.plaintext=anywhere"]).unwrap();
                open_kv(&url, &options).unwrap().0
            };
            let who = (NAMES[number], number as u16 + 1);
            Manager::start(host, who, LEASE, become_member, recorder.address)
        });
        let managers: Vec<_> = managers.collect();
        let scene = Self {
            managers,
            recorder,
            lab,
            _directory: directory,
        };
        scene
            .recorder
            .wait_for("the first leader", || scene.recorder.last_actor().is_some());
        scene.see(&[0, 1, 2], &[1, 2, 3]);
        Some(scene)
    }

    fn leader(&self) -> usize {
        let last = self.recorder.last_actor().unwrap();
        NAMES.iter().position(|name| *name == last).unwrap()
    }

    fn others(&self, than: usize) -> Vec<usize> {
        (0..NAMES.len()).filter(|number| *number != than).collect()
    }

    /// Until these managers see these nodes.
    fn see(&self, managers: &[usize], nodes: &[u16]) {
        for number in managers {
            let manager = &self.managers[*number];
            let what = format!("the view {nodes:?} of {}", manager.name());
            self.recorder.wait_for(&what, || manager.nodes() == nodes);
        }
    }

    /// Until another one acts, with a token above all before; the old one leads no more then. Says
    /// which it is.
    fn taken_over(&self, from: usize) -> usize {
        let before = self.recorder.highest();
        self.recorder.wait_for("another leader", || {
            self.recorder.highest() > before && self.leader() != from
        });
        assert!(!self.managers[from].leads(), "two managers lead");
        self.leader()
    }

    /// Until one takes the other for the leader.
    fn follows(&self, follower: usize, leader: usize) {
        let leader = Some(NAMES[leader]);
        self.recorder.wait_for("that the old leader follows", || {
            self.managers[follower].follows().as_deref() == leader
        });
    }
}

fn url(own: usize, addresses: &[Ipv4Addr], directory: &Path) -> String {
    let list = NAMES.iter().zip(addresses);
    let list: Vec<_> = list
        .map(|(name, address)| format!("{name}={address}:7300"))
        .collect();
    let name = NAMES[own];
    let directory = directory.join(name);
    format!(
        "raft://{}?self={name}&dir={}",
        list.join(","),
        directory.display()
    )
}

/// The leader hears no other member and acts until its lease is over; the recorder hears it all the
/// time.
fn cut_from_the_others(scene: &Scene) {
    let leader = scene.leader();
    let others = scene.others(leader);
    let cuts: Vec<_> = others
        .iter()
        .map(|other| scene.lab.cut(leader, *other).unwrap())
        .collect();
    let next = scene.taken_over(leader);
    scene.recorder.check();
    // Its registration ended with its lease; who hears nothing removes nobody.
    let left: Vec<_> = others.iter().map(|number| *number as u16 + 1).collect();
    scene.see(&others, &left);
    assert_eq!(scene.managers[leader].nodes(), [1, 2, 3]);
    drop(cuts);
    scene.follows(leader, next);
    scene.see(&[0, 1, 2], &[1, 2, 3]);
    // And nothing moves back.
    let (token, begin) = (scene.recorder.highest(), scene.recorder.count());
    thread::sleep(LEASE);
    let acts = scene.recorder.since(begin);
    assert!(
        !acts.is_empty() && acts.iter().all(|act| act.token == token),
        "{acts:?}"
    );
}

/// No two members hear each other: nobody acts. Healed, one does.
fn all_cut_from_each_other(scene: &Scene) {
    let pairs = [(0, 1), (0, 2), (1, 2)];
    let cuts = pairs.map(|(a, b)| scene.lab.cut(a, b).unwrap());
    scene.recorder.wait_for("that nobody leads", || {
        !scene.managers.iter().any(Manager::leads)
    });
    thread::sleep(SLACK);
    let (before, begin) = (scene.recorder.highest(), scene.recorder.count());
    thread::sleep(LEASE);
    assert_eq!(scene.recorder.since(begin), []);
    drop(cuts);
    scene
        .recorder
        .wait_for("a leader", || scene.recorder.highest() > before);
    scene.recorder.check();
}

/// As the first, and cut off from the recorder, too: what it told while it led arrives late, under a
/// token that tells that.
fn isolated(scene: &Scene) {
    let leader = scene.leader();
    let isolated = scene.lab.isolate(leader).unwrap();
    let next = scene.taken_over(leader);
    isolated.undo().unwrap();
    scene.follows(leader, next);
    thread::sleep(SLACK);
    scene.recorder.check_but_for_late(NAMES[leader]);
}

pub fn partitions() {
    let Some(scene) = Scene::start() else {
        return;
    };
    cut_from_the_others(&scene);
    all_cut_from_each_other(&scene);
    isolated(&scene);
}
