//! Containers of our own that somebody made and nobody will start.

use std::time::Duration;

use longshore_core::{Result, Timestamp};

use crate::{
    cleanup::Identity,
    docker::{
        api::AtRest,
        context::Context,
        sidecar::{GATEWAY, LIFE, ROLE},
    },
};

/// Removes helper containers that do not run: those of other lives of this gateway, and whoever's is
/// old. One that runs ends by itself, as nobody holds its input, and the engine removes it then; but
/// what was made just before its gateway died was never started. What can't be seen or removed now is
/// there the next time.
pub(super) async fn remove_left(context: &Context) {
    if let Err(error) = remove(context).await {
        let error = error.chain();
        tracing::debug!(
            error,
            "helper containers that were left can't be looked for"
        );
    }
}

async fn remove(context: &Context) -> Result<()> {
    let api = &context.api;
    let listed = api.containers_at_rest(ROLE).await?;
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
        match api.remove_container(&helper.id).await {
            Err(error) if error.is_retryable() => return Err(error),
            // The others have nothing to do with it.
            Err(error) => tracing::debug!(error = error.chain(), "it can't be removed"),
            Ok(_) => {}
        }
    }
    Ok(())
}

fn is_left(one: &AtRest, identity: &Identity, now: Timestamp) -> bool {
    let of_gateway = one.label(GATEWAY) == Some(identity.gateway());
    let of_another_life = of_gateway && one.label(LIFE) != Some(identity.life());
    of_another_life || one.made().after(LONGEST_START) < now
}

/// Whoever makes one starts it within half a minute, or removes it.
const LONGEST_START: Duration = Duration::from_secs(600);
/// Of one engine at a time.
const MOST: usize = 64;
