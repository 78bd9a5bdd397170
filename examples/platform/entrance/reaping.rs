//! Ends what exec sessions of an earlier life of this manager left behind, on every node that comes, and
//! what this life could not end at once.

mod rounds;

use std::{sync::Arc, time::Duration};

use futures::stream::{FuturesUnordered, StreamExt};
use longshore::{
    Clock, Result,
    core::{ClockExt, NodeId, Timestamp},
    exec::Reaped,
};

use self::rounds::{Came, Rounds};

/// Looks into each node when it comes, as [`Rounds`] decides. `nodes` are those that are there, and
/// since when; `unsettled` is how many sessions of this life left something so far. Cancel safe.
pub async fn run<W>(
    clock: Arc<dyn Clock>,
    nodes: impl Fn() -> Vec<(NodeId, Timestamp)>,
    unsettled: impl Fn() -> u64,
    reap: impl Fn(NodeId) -> W,
) where
    W: Future<Output = Result<Reaped>>,
{
    let mut rounds = Rounds::default();
    let mut looks = FuturesUnordered::new();
    let mut ended = 0;
    loop {
        let now = clock.now();
        rounds.see(&nodes(), now);
        rounds.unsettled(unsettled(), now);
        while let Some(node) = rounds.next(now) {
            let look = reap(node.clone());
            looks.push(async move { (node, look.await) });
        }
        tokio::select! {
            Some((node, reaped)) = looks.next() => {
                let came = tell(&node, reaped, &mut ended);
                rounds.came(&node, came, clock.now());
            }
            () = clock.sleep(PAUSE) => {}
        }
    }
}

/// Says in the log what was found, and how much it is by now.
fn tell(node: &NodeId, reaped: Result<Reaped>, ended: &mut usize) -> Came {
    let reaped = match reaped {
        Ok(reaped) => reaped,
        Err(error) => {
            tracing::debug!(
                %node,
                error = error.chain(),
                "lost exec sessions could not be looked for; it is tried again"
            );
            return Came::Failed;
        }
    };
    let (found, left) = (reaped.reports.len(), reaped.left());
    *ended += found - left;
    if left > 0 {
        tracing::warn!(%node, found, left, "lost exec sessions may have left processes; it is tried again");
    } else if found > 0 {
        tracing::info!(
            %node,
            found,
            ended_in_all = *ended,
            "lost exec sessions were ended"
        );
    } else {
        tracing::debug!(%node, containers = reaped.containers, "no lost exec sessions");
    }
    let containers = reaped.unanswered.len();
    if containers > 0 {
        tracing::info!(%node, containers, "some containers gave no answer; they are looked into again");
    }
    if left == 0 && containers == 0 {
        Came::Through
    } else {
        Came::Failed
    }
}

/// How often it is seen which nodes are there.
const PAUSE: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests;
