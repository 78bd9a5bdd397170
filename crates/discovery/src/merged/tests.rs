//! What merging adds; the rules of every backend are in `tests/decorators.rs`.

use longshore_core::{DiscoveryExt, ErrorKind, MembershipEvent, SystemClock};

use super::*;
use crate::{MemoryDiscovery, StaticDiscovery};

const TTL: Duration = Duration::from_secs(600);

fn node(host: &str) -> Announcement {
    Announcement::new(format!("{host}:1").parse().unwrap())
}

fn pair() -> (MemoryDiscovery, MemoryDiscovery, MergedDiscovery) {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let first = MemoryDiscovery::new(clock.clone());
    let second = MemoryDiscovery::new(clock.clone());
    let members: Vec<Arc<dyn Discovery>> = vec![Arc::new(first.clone()), Arc::new(second.clone())];
    let merged = MergedDiscovery::new(members, clock).unwrap();
    (first, second, merged)
}

fn hosts(nodes: &[Announcement]) -> Vec<&str> {
    nodes.iter().map(|node| node.endpoint.host()).collect()
}

#[tokio::test(start_paused = true)]
async fn a_node_is_there_while_any_backend_has_it_and_the_first_describes_it() {
    let (first, second, merged) = pair();
    let named =
        |zone: &str| node("a").with_labels(longshore_core::Labels::new().with("zone", zone));
    let registered = first.register(&named("one"), TTL).await.unwrap();
    second.register(&named("two"), TTL).await.unwrap();
    second.register(&node("b"), TTL).await.unwrap();
    assert_eq!(
        merged.list().await.unwrap().nodes,
        [named("one"), node("b")]
    );
    first.deregister(&registered).await.unwrap();
    assert_eq!(merged.first_set().await.unwrap(), [named("two"), node("b")]);
}

#[tokio::test(start_paused = true)]
async fn d6_a_backend_that_is_out_of_reach_removes_nothing() {
    let (first, second, merged) = pair();
    first.register(&node("a"), TTL).await.unwrap();
    second.register(&node("b"), TTL).await.unwrap();
    assert_eq!(merged.list().await.unwrap().nodes.len(), 2);
    let mut watch = merged.watch();
    assert!(matches!(watch.next().await, Some(MembershipEvent::Reset(all)) if all.len() == 2));
    second.set_reachable(false);
    assert!(matches!(
        watch.next().await,
        Some(MembershipEvent::Problem(_))
    ));
    first.register(&node("c"), TTL).await.unwrap();
    assert!(matches!(
        watch.next().await,
        Some(MembershipEvent::Added(_))
    ));
    let found = merged.list().await.unwrap();
    assert_eq!(hosts(&found.nodes), ["a", "b", "c"]);
    assert_eq!(found.problems.len(), 1);
    first.set_reachable(false);
    let error = merged.list().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
}

#[tokio::test(start_paused = true)]
async fn a_backend_that_is_out_of_reach_from_the_start_does_not_hide_the_others() {
    let (first, second, merged) = pair();
    first.register(&node("a"), TTL).await.unwrap();
    second.set_reachable(false);
    let mut watch = merged.watch();
    let mut sets = Vec::new();
    while sets.is_empty() {
        if let Some(MembershipEvent::Reset(all)) = watch.next().await {
            sets.push(all);
        }
    }
    assert_eq!(hosts(&sets[0]), ["a"]);
}

#[tokio::test(start_paused = true)]
async fn nodes_register_with_the_first_that_can() {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let fixed = Arc::new(StaticDiscovery::parse("z:1").unwrap());
    let memory = MemoryDiscovery::new(clock.clone());
    let members: Vec<Arc<dyn Discovery>> = vec![fixed.clone(), Arc::new(memory.clone())];
    let merged = MergedDiscovery::new(members, clock.clone()).unwrap();
    let registration = merged.register(&node("a"), TTL).await.unwrap();
    assert_eq!(memory.list().await.unwrap().nodes.len(), 1);
    assert_eq!(merged.list().await.unwrap().nodes.len(), 2);
    let foreign = memory.register(&node("b"), TTL).await.unwrap();
    let error = merged.renew(&foreign).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    merged.deregister(&registration).await.unwrap();
    let only = MergedDiscovery::new(vec![fixed], clock.clone()).unwrap();
    assert!(!only.capabilities().register);
    assert!(MergedDiscovery::new(Vec::new(), clock).is_err());
}
