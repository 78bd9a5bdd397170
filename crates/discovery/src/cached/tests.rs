//! What caching adds; the rules of every backend are in `tests/decorators.rs`.

use longshore_core::{MembershipEvent, SystemClock};

use super::*;
use crate::MemoryDiscovery;

#[tokio::test(start_paused = true)]
async fn d12_the_last_good_view_serves_with_its_age_and_ends_being_stale_by_itself() {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let memory = MemoryDiscovery::new(clock.clone());
    let minute = Duration::from_secs(60);
    let cached = CachedDiscovery::with_limits(
        Arc::new(memory.clone()),
        clock.clone(),
        minute,
        Duration::from_secs(10),
    );
    let node = Announcement::new("a:1".parse().unwrap());
    memory.register(&node, minute * 60).await.unwrap();
    let mut watch = cached.watch();
    assert!(matches!(
        watch.next().await,
        Some(MembershipEvent::Reset(_))
    ));
    let fresh = cached.staleness();
    assert_eq!((fresh.nodes, fresh.stale_since), (Some(1), None));

    memory.set_reachable(false);
    assert!(matches!(
        watch.next().await,
        Some(MembershipEvent::Problem(_))
    ));
    clock.sleep(minute / 2).await;
    assert!(cached.staleness().age(clock.now()) >= minute / 2);
    let found = cached.list().await.unwrap();
    assert_eq!(found.nodes, std::slice::from_ref(&node));
    let age = found.problems[0].context("stale for").unwrap();
    assert!(age.starts_with("30"), "{age}");
    clock.sleep(minute).await;
    assert!(cached.list().await.unwrap_err().is_retryable(), "too old");

    // Nothing changed meanwhile, so the watch has nothing to tell.
    memory.set_reachable(true);
    clock.sleep(Duration::from_secs(11)).await;
    let fresh = cached.staleness();
    assert_eq!(fresh.stale_since, None);
    assert!(fresh.last_error.is_some());
    assert_eq!(fresh.age(clock.now()), Duration::ZERO);
}
