use std::{
    collections::HashMap,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use longshore::{
    Error,
    core::{SessionId, SystemClock, WorkloadId},
    exec::{CleanupOutcome, CleanupReport},
};

use super::*;

/// Nodes, when they came, and what is asked of them.
#[derive(Debug, Default)]
struct Fakes {
    there: Mutex<HashMap<NodeId, Timestamp>>,
    asked: Mutex<Vec<NodeId>>,
}

fn node(name: &str) -> NodeId {
    NodeId::new(name).expect("an id")
}

impl Fakes {
    fn come(&self, name: &str, since: u64) {
        let mut there = self.there.lock().unwrap_or_else(PoisonError::into_inner);
        there.insert(node(name), Timestamp::from_secs(since));
    }

    fn asked(&self, name: &str) -> usize {
        let asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        asked.iter().filter(|one| one.as_str() == name).count()
    }

    async fn reap(&self, node: NodeId) -> Result<Reaped> {
        let hangs = node.as_str().starts_with("hung");
        let fails = node.as_str().starts_with("broken");
        let keeps = node.as_str().starts_with("stubborn");
        self.asked
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(node);
        match () {
            () if hangs => std::future::pending().await,
            () if fails => Err(Error::unavailable("no engine")),
            () if keeps => {
                let workload = WorkloadId::new("web").expect("an id");
                let session = SessionId::new("lost").expect("an id");
                let outcome = CleanupOutcome::Incomplete;
                let mut reaped = Reaped::default();
                reaped.reports = vec![CleanupReport::new(workload, session, outcome)];
                Ok(reaped)
            }
            () => Ok(Reaped::default()),
        }
    }
}

/// Twenty engines hang from the beginning: others are looked into all the same, those that fail, or keep
/// something, again and again, and one that comes back once more.
#[tokio::test(start_paused = true)]
async fn engines_that_hang_or_fail_hold_up_nobody() {
    let fakes = Arc::new(Fakes::default());
    for number in 0..20 {
        fakes.come(&format!("hung-{number}"), 1);
    }
    fakes.come("broken", 1);
    fakes.come("stubborn", 1);
    let (seen, asked) = (fakes.clone(), fakes.clone());
    let nodes = move || {
        let there = seen.there.lock().unwrap_or_else(PoisonError::into_inner);
        there.iter().map(|(node, at)| (node.clone(), *at)).collect()
    };
    let reap = move |node| {
        let fakes = asked.clone();
        async move { fakes.reap(node).await }
    };
    let clock = Arc::new(SystemClock::new());
    let unsettled = Arc::new(AtomicU64::new(0));
    let count = unsettled.clone();
    let count = move || count.load(Ordering::Relaxed);
    let running = tokio::spawn(run(clock.clone(), nodes, count, reap));
    clock.sleep(Duration::from_secs(20)).await;
    fakes.come("good", 2);
    clock.sleep(Duration::from_secs(20)).await;
    assert_eq!(fakes.asked("good"), 1);
    assert!(fakes.asked("broken") >= 2);
    clock.sleep(Duration::from_secs(60)).await;
    assert_eq!(fakes.asked("good"), 2, "for what came late");
    clock.sleep(Duration::from_secs(600)).await;
    assert_eq!(fakes.asked("good"), 2);
    fakes.come("good", 700);
    clock.sleep(Duration::from_secs(2)).await;
    assert_eq!(fakes.asked("good"), 3);
    assert_eq!(fakes.asked("hung-0"), 1, "not twice at a time");
    assert!(fakes.asked("stubborn") >= 5, "while something is left");
    clock.sleep(Duration::from_secs(600)).await;
    assert_eq!(fakes.asked("good"), 4);
    unsettled.store(1, Ordering::Relaxed);
    clock.sleep(Duration::from_secs(600)).await;
    assert_eq!(fakes.asked("good"), 5, "for what this life left");
    running.abort();
}
