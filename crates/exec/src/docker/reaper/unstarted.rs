//! Containers of our own that somebody made and nobody will start.

use std::time::Duration;

use longshore_core::{ClockExt, Result, Timestamp};

use crate::{
    cleanup::Identity,
    docker::{
        api::AtRest,
        context::Context,
        sidecar::{GATEWAY, LIFE, LIFELINE, NAMED, ROLE, SIDECAR, STUB},
    },
};

/// Removes helper containers that do not run: those of other lives of this gateway, and whoever's is
/// old. One that runs ends by itself, as nobody holds its input, and the engine removes it then; but
/// what was made just before its gateway died was never started. What can't be seen or removed now,
/// within half a minute in all, is there the next time.
pub(super) async fn remove_left(context: &Context) {
    let clock = &context.api.clock;
    let removing = clock.timeout(LIMIT, "the engine", remove(context)).await;
    if let Err(error) = removing.and_then(|removed| removed) {
        let error = error.chain();
        tracing::debug!(
            error,
            "helper containers that were left can't be looked for"
        );
    }
}

async fn remove(context: &Context) -> Result<()> {
    let api = &context.api;
    let mut listed = api.containers_at_rest(ROLE).await?;
    listed.retain(is_ours);
    if listed.is_empty() {
        return Ok(());
    }
    let now = api.engine_time().await?;
    let identity = context.settings.life.identity();
    let left = listed.iter().filter(|one| is_left(one, identity, now));
    for helper in left.take(MOST) {
        tracing::info!(
            helper = helper.id,
            "a helper container that was left is removed"
        );
        match api.remove_container_at_rest(&helper.id).await {
            Err(error) if error.is_retryable() => return Err(error),
            // The others have nothing to do with it.
            Err(error) => tracing::debug!(error = error.chain(), "it can't be removed"),
            Ok(_) => {}
        }
    }
    Ok(())
}

/// A label alone says little: containers have those of their images, whoever wrote them.
fn is_ours(one: &AtRest) -> bool {
    let role = one.label(ROLE).unwrap_or_default();
    let named = |name: &String| name.trim_start_matches('/').starts_with(NAMED);
    [LIFELINE, SIDECAR, STUB].contains(&role) && one.names().iter().any(named)
}

fn is_left(one: &AtRest, identity: &Identity, now: Timestamp) -> bool {
    let of_gateway = one.label(GATEWAY) == Some(identity.gateway());
    let of_another_life = of_gateway && one.label(LIFE) != Some(identity.life());
    let is_old = |made: Timestamp| made.after(LONGEST_START) < now;
    of_another_life || one.made().is_some_and(is_old)
}

/// Whoever makes one starts it within half a minute, or removes it.
const LONGEST_START: Duration = Duration::from_secs(600);
const LIMIT: Duration = Duration::from_secs(30);
/// Of one engine at a time.
const MOST: usize = 64;
