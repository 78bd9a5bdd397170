//! What damping adds; the policy is tested in `damper`, the rules of every backend in
//! `tests/decorators.rs`.

use longshore_core::{ClockExt, MembershipEvent, SystemClock};

use super::*;
use crate::MemoryDiscovery;

#[tokio::test(start_paused = true)]
async fn a_node_that_flaps_is_left_out_of_watch_and_list_and_comes_back() {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let memory = MemoryDiscovery::new(clock.clone());
    let policy = DampingPolicy::default();
    let damped = DampedDiscovery::new(Arc::new(memory.clone()), policy, clock.clone()).unwrap();
    let node = Announcement::new("a:1".parse().unwrap());
    let day = Duration::from_secs(24 * 3600);
    let mut watch = damped.watch();
    assert!(matches!(
        watch.next().await,
        Some(MembershipEvent::Reset(_))
    ));
    for _ in 0..4 {
        let registration = memory.register(&node, day).await.unwrap();
        assert!(matches!(
            watch.next().await,
            Some(MembershipEvent::Added(_))
        ));
        memory.deregister(&registration).await.unwrap();
        assert!(matches!(
            watch.next().await,
            Some(MembershipEvent::Removed(_))
        ));
    }
    let Some(MembershipEvent::Problem(problem)) = watch.next().await else {
        panic!("nobody was told");
    };
    assert_eq!(problem.kind(), ErrorKind::Unavailable);
    memory.register(&node, day).await.unwrap();
    clock.sleep(Duration::from_secs(60)).await;
    let found = damped.list().await.unwrap();
    assert_eq!((found.nodes.len(), found.problems.len()), (0, 1));
    let start = clock.now();
    let back = watch.next().await;
    assert!(matches!(back, Some(MembershipEvent::Added(_))), "{back:?}");
    // Two half-lives, of which a minute is over.
    let waited = clock.now().since(start).as_secs();
    assert!((500..=545).contains(&waited), "{waited}");
    assert_eq!(damped.list().await.unwrap().nodes.len(), 1);
}

#[test]
fn a_policy_without_sense_is_refused() {
    let minute = Duration::from_secs(60);
    let good = DampingPolicy::default;
    for policy in [
        good().with_thresholds(1.0, 2.0),
        good().with_thresholds(3.0, 0.0),
        good().with_thresholds(f64::INFINITY, 1.0),
        good().with_times(Duration::ZERO, minute),
        good().with_times(minute, Duration::ZERO),
    ] {
        assert!(policy.check().is_err(), "{policy:?}");
    }
}
