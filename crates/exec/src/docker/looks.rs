//! Looking at the processes of containers. A look has the engine's host list all of its processes,
//! which costs the more the more there are: fifty milliseconds of a processor where they are some
//! thousand. So those who want to see the same container share one look, and all looks of an engine
//! together take half of one processor at most.

use std::{
    collections::HashMap,
    fmt,
    future::Future,
    pin::pin,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use longshore_core::{Clock, ClockExt, Error, Timestamp, WorkloadId};
use tokio::sync::watch;

use super::api::Api;
use crate::cleanup::{COLUMNS, ProcessTable};

/// Who wants to see which container of one engine.
#[derive(Clone, Default)]
pub(super) struct Looks {
    /// The looks that have not begun.
    next: Arc<Mutex<HashMap<WorkloadId, watch::Receiver<Option<Seen>>>>>,
    /// One look at a time, and from when on.
    turn: Arc<tokio::sync::Mutex<Timestamp>>,
}

/// What a look came to.
pub(super) type Seen = Result<Arc<ProcessTable>, Unseen>;

/// Why nothing was seen.
#[derive(Clone, Debug)]
pub(super) enum Unseen {
    /// The engine did not answer, or refused.
    Failed(Arc<Error>),
    /// Its answer does not tell what runs.
    Unreadable(&'static str),
}

impl Looks {
    /// Looks at a container. What is seen is as it was after this was called.
    ///
    /// # Cancel safety
    /// Safe: others who wait for the same look still get it.
    pub(super) async fn at(&self, api: &Arc<Api>, workload: &WorkloadId) -> Seen {
        let (engine, seen) = (Arc::clone(api), workload.clone());
        let look = async move {
            let answer = engine.top(&seen, COLUMNS).await;
            let answer = answer.map_err(|error| Unseen::Failed(Arc::new(error)))?;
            let table = ProcessTable::parse(&answer).map_err(Unseen::Unreadable)?;
            Ok(Arc::new(table))
        };
        self.share(&api.clock, workload, look).await
    }

    async fn share(
        &self,
        clock: &Arc<dyn Clock>,
        workload: &WorkloadId,
        look: impl Future<Output = Seen> + Send + 'static,
    ) -> Seen {
        let mut coming = {
            let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
            match next.get(workload) {
                // Unless its runtime was stopped before it began.
                Some(coming) if coming.has_changed().is_ok() => coming.clone(),
                _ => {
                    let (tell, coming) = watch::channel(None);
                    next.insert(workload.clone(), coming.clone());
                    let (looks, clock) = (self.clone(), Arc::clone(clock));
                    let workload = workload.clone();
                    // In a task of its own: nobody waits for who asked first and is slow to go on.
                    tokio::spawn(async move {
                        let seen = looks.take_turn(&*clock, &workload, look).await;
                        tell.send_replace(Some(seen));
                    });
                    coming
                }
            }
        };
        match coming.wait_for(Option::is_some).await.as_deref() {
            Ok(Some(seen)) => seen.clone(),
            _ => Err(Unseen::Failed(Arc::new(Error::closed(
                "the look at a container was given up",
            )))),
        }
    }

    async fn take_turn(
        &self,
        clock: &dyn Clock,
        workload: &WorkloadId,
        look: impl Future<Output = Seen>,
    ) -> Seen {
        let mut from = self.turn.lock().await;
        clock.sleep_until(*from).await;
        // Who asks from here on would be shown what was before.
        self.next
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(workload);
        let begun = clock.now();
        let mut look = pin!(look);
        tokio::select! {
            biased;
            seen = look.as_mut() => {
                let now = clock.now();
                *from = now.after(now.since(begun));
                return seen;
            }
            () = clock.sleep(LONGEST_TURN) => {}
        }
        // A container that can't be looked at holds up no look at others for long.
        *from = clock.now().after(LONGEST_TURN);
        drop(from);
        look.await
    }
}

impl fmt::Debug for Looks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Looks").finish_non_exhaustive()
    }
}

/// How long others wait for a look, and at most for the pause behind it.
const LONGEST_TURN: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures::{FutureExt, future::join_all};
    use longshore_core::SystemClock;

    use super::*;

    struct Host {
        looks: Looks,
        clock: Arc<dyn Clock>,
        /// How many looks have begun, and how many are under way.
        begun: Arc<AtomicUsize>,
        at_once: Arc<AtomicUsize>,
    }

    impl Host {
        fn new() -> Self {
            Self {
                looks: Looks::default(),
                clock: Arc::new(SystemClock::new()),
                begun: Arc::default(),
                at_once: Arc::default(),
            }
        }

        /// The number of the look that was shown.
        async fn look(&self, container: &str) -> usize {
            let (begun, at_once) = (Arc::clone(&self.begun), Arc::clone(&self.at_once));
            let numbers = ["1", "2", "3", "4", "5", "6", "7", "8"];
            let look = async move {
                let number = begun.fetch_add(1, Ordering::Relaxed);
                assert_eq!(at_once.fetch_add(1, Ordering::Relaxed), 0);
                tokio::time::sleep(LOOK).await;
                at_once.fetch_sub(1, Ordering::Relaxed);
                Err(Unseen::Unreadable(numbers[number]))
            };
            let workload = WorkloadId::new(container).unwrap();
            match self.looks.share(&self.clock, &workload, look).await {
                Err(Unseen::Unreadable(number)) => number.parse().unwrap(),
                other => panic!("{other:?}"),
            }
        }
    }

    const LOOK: Duration = Duration::from_millis(50);

    #[tokio::test(start_paused = true)]
    async fn those_who_wait_share_a_look_and_nobody_is_shown_what_was_before() {
        let host = Host::new();
        let later = async {
            tokio::time::sleep(LOOK / 2).await;
            join_all([host.look("web"), host.look("web")]).await
        };
        let (first, later) = tokio::join!(join_all([host.look("web"), host.look("web")]), later);
        assert_eq!((first, later), (vec![1, 1], vec![2, 2]));
        assert_eq!(host.begun.load(Ordering::Relaxed), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn looks_at_any_containers_take_half_of_the_time() {
        let host = Host::new();
        let start = tokio::time::Instant::now();
        let seen = tokio::join!(host.look("a"), host.look("b"), host.look("c"));
        assert_eq!(seen, (1, 2, 3));
        let took = start.elapsed();
        assert!(took >= LOOK * 5 && took < LOOK * 6, "{took:?}");
        // The first behind a pause waits for nobody.
        tokio::time::sleep(LOOK * 2).await;
        let start = tokio::time::Instant::now();
        host.look("a").await;
        assert!(start.elapsed() < LOOK * 2);
    }

    #[tokio::test(start_paused = true)]
    async fn who_leaves_or_is_slow_holds_nobody_up() {
        let host = Host::new();
        host.look("a").await;
        // It has its turn, and waits until it may begin; and nobody goes on with it.
        let mut left = Box::pin(host.look("b"));
        assert!((&mut left).now_or_never().is_none());
        let (one, other) = tokio::join!(host.look("c"), host.look("b"));
        assert_eq!((one, other), (3, 2));
        assert_eq!(left.await, 2);
        assert!(host.looks.next.lock().unwrap().is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn a_container_that_cannot_be_looked_at_holds_up_no_others() {
        let host = Host::new();
        let web = WorkloadId::new("web").unwrap();
        let mut stuck = Box::pin(host.looks.share(&host.clock, &web, std::future::pending()));
        assert!((&mut stuck).now_or_never().is_none());
        let start = tokio::time::Instant::now();
        assert_eq!(host.look("db").await, 1);
        assert!(start.elapsed() < LONGEST_TURN * 3);
    }
}
