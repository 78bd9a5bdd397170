//! What callers are told when a member ends.

use longshore_core::testkit::ManualClock;

use super::*;
use crate::raft::{
    command::Action,
    node::tests::{START, lead, member},
};

fn shared(node: Node) -> Arc<Shared> {
    let clock = Arc::new(ManualClock::new(START));
    let describe = ("raft://a".to_owned(), true);
    Arc::new(Shared::new(node, clock, describe, Duration::from_secs(5)))
}

/// How a call ends that waits when the member's disk fails.
async fn ends(node: Node, begin: fn(&mut Node, Timestamp) -> Ticket) -> ErrorKind {
    let shared = shared(node);
    let waits = shared.clone();
    let call = tokio::spawn(async move { waits.call(begin).await });
    while shared.lock().waiting.is_empty() {
        tokio::task::yield_now().await;
    }
    shared.end(ErrorKind::Unavailable, "the disk failed");
    call.await.unwrap().unwrap_err().kind()
}

/// L7: "unavailable" says that nothing happened; clients then ask another member.
#[tokio::test]
async fn l7_a_change_that_the_leader_has_is_not_called_undone() {
    let put: fn(&mut Node, Timestamp) -> Ticket =
        |node, now| node.request(Action::Grant(Duration::from_secs(9)), now);
    let read: fn(&mut Node, Timestamp) -> Ticket = |node, now| node.confirm(None, now);
    assert_eq!(ends(member(Vec::new()), put).await, ErrorKind::Unavailable);
    let leader = || {
        let mut node = member(Vec::new());
        lead(&mut node);
        node
    };
    assert_eq!(ends(leader(), put).await, ErrorKind::Timeout);
    assert_eq!(ends(leader(), read).await, ErrorKind::Unavailable);
}
