//! Containers that may have been made by a create whose answer was lost (S26).

use std::{sync::Arc, time::Duration};

use http::{HeaderMap, Method};
use longshore_core::{Backoff, ClockExt, NodeHealth, NodeId, Random, Timestamp, http::empty_body};
use serde::Deserialize;
use serde_json::json;
use tokio::sync::Semaphore;

use crate::{
    NodeView, SWARM_ID_LABEL,
    endpoint::{Shared, error::ApiResult, proxy::request, query::Query},
};

/// How many searches there may be at a time.
#[derive(Debug)]
pub(in crate::endpoint) struct StraySearches(Arc<Semaphore>);

impl Default for StraySearches {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(MOST_SEARCHES)))
    }
}

/// A container as an engine lists it.
#[derive(Debug, Deserialize)]
pub(in crate::endpoint) struct Listed {
    #[serde(rename = "Id")]
    pub(in crate::endpoint) id: String,
}

/// Looks for what a create may have left on a node, until it is gone or certainly never was.
#[derive(Debug)]
struct Search {
    backoff: Backoff,
    began: Timestamp,
    /// An engine that answers makes a container within this time, or never.
    longest: Duration,
}

/// What a look came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Look {
    /// The engine did not tell, or did not remove it.
    Failed,
    /// There is nothing, or nothing any more.
    Nothing,
    /// It was there and is removed.
    Removed,
}

/// What to do then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    LookIn(Duration),
    End,
    GiveUp,
}

impl Search {
    fn new(longest: Duration, now: Timestamp) -> Self {
        Self {
            backoff: Backoff::new(FIRST_LOOK, LAST_LOOK),
            began: now,
            longest,
        }
    }

    fn handle(&mut self, look: Look, now: Timestamp, random: &dyn Random) -> Next {
        let age = now.since(self.began);
        match look {
            Look::Removed => Next::End,
            // An engine that hung may make it yet.
            Look::Nothing if age >= self.longest => Next::End,
            _ if age >= PATIENCE => Next::GiveUp,
            _ => Next::LookIn(self.backoff.next_delay(random)),
        }
    }
}

/// Removes what a create left on a node, in the background: the work is elsewhere by now, or its user
/// was told that it failed. `kept` is what he was given. What was started meanwhile stays.
pub(in crate::endpoint) fn clear(
    shared: &Arc<Shared>,
    node: NodeId,
    swarm_id: String,
    kept: Option<String>,
) {
    let Ok(permit) = Arc::clone(&shared.strays.0).try_acquire_owned() else {
        tracing::warn!(%node, swarm_id, "too many lost creates: what this one left is not looked for");
        return;
    };
    let shared = Arc::clone(shared);
    let shutdown = shared.plane.shutdown().clone();
    shutdown.spawn_until(async move {
        let (clock, random) = (shared.plane.clock(), shared.plane.random());
        let mut search = Search::new(shared.options.longest_create, clock.now());
        let mut look = Look::Failed;
        loop {
            match search.handle(look, clock.now(), &**random) {
                Next::LookIn(delay) => clock.sleep(delay).await,
                Next::End => break,
                Next::GiveUp => {
                    tracing::warn!(%node, swarm_id, "what a lost create left was not found in time");
                    break;
                }
            }
            look = match shared.plane.node(node.as_str()) {
                // It took its containers along.
                None => break,
                Some(view) if view.health != NodeHealth::Healthy => Look::Failed,
                Some(view) => match remove(&shared, &view, &swarm_id, kept.as_deref()).await {
                    Ok(look) => look,
                    Err(error) => {
                        tracing::debug!(%node, message = error.message(), "looking for a stray");
                        Look::Failed
                    }
                },
            };
        }
        drop(permit);
    });
}

async fn remove(
    shared: &Shared,
    node: &NodeView,
    swarm_id: &str,
    kept: Option<&str>,
) -> ApiResult<Look> {
    let mut look = Look::Nothing;
    for found in find(shared, node, swarm_id).await? {
        if kept == Some(found.id.as_str()) {
            continue;
        }
        // Without force: what runs is somebody's.
        let path = format!("/containers/{}", found.id);
        let target = shared.target_at(node, None, &path, "v=1");
        let request = request(Method::DELETE, &target, &HeaderMap::new(), empty_body())?;
        shared.ask(node, shared.options.work_limit, request).await?;
        tracing::info!(
            node = node.name,
            container = found.id,
            "removed: its create was lost"
        );
        look = Look::Removed;
    }
    Ok(look)
}

/// The containers on a node that one create call made.
pub(in crate::endpoint) async fn find(
    shared: &Shared,
    node: &NodeView,
    swarm_id: &str,
) -> ApiResult<Vec<Listed>> {
    let filters = json!({"label": [format!("{SWARM_ID_LABEL}={swarm_id}")]}).to_string();
    let mut query = Query::default();
    query.set("all", Some("1".to_owned()));
    query.set("filters", Some(filters));
    shared
        .get(node, None, "/containers/json", &query.encode())
        .await
}

const MOST_SEARCHES: usize = 64;
const FIRST_LOOK: Duration = Duration::from_secs(1);
const LAST_LOOK: Duration = Duration::from_secs(60);
/// A node that was away longer is cleared by hand.
const PATIENCE: Duration = Duration::from_secs(24 * 3600);

#[cfg(test)]
mod tests {
    use longshore_core::SeededRandom;

    use super::*;

    #[test]
    fn s26_a_stray_is_looked_for_until_it_is_gone_or_certainly_never_was() {
        let random = SeededRandom::new(1);
        let began = Timestamp::from_secs(0);
        let at = |time: Duration| began.after(time);
        let goes_on = |next| matches!(next, Next::LookIn(delay) if delay <= LAST_LOOK);
        let longest = Duration::from_secs(120);
        let mut search = Search::new(longest, began);
        assert!(goes_on(search.handle(Look::Failed, began, &random)));
        // It may still be on its way.
        assert!(goes_on(search.handle(
            Look::Nothing,
            at(FIRST_LOOK),
            &random
        )));
        assert!(goes_on(search.handle(Look::Failed, at(longest), &random)));
        let end = search.handle(Look::Nothing, at(longest), &random);
        assert_eq!(end, Next::End);
        let mut search = Search::new(longest, began);
        assert_eq!(search.handle(Look::Removed, began, &random), Next::End);
        let given_up = search.handle(Look::Failed, at(PATIENCE), &random);
        assert_eq!(given_up, Next::GiveUp);
    }
}
