use std::sync::Arc;

use longshore_core::{ClockExt, Engine, Result};

use super::{driver::Source, led::LedEngine};
use crate::{hub::Standing, plane::Inner};

/// A node's engine, for its driver, which only looks, and for everybody else.
pub(super) struct Engines {
    pub(super) own: Arc<dyn Engine>,
    pub(super) lent: Arc<dyn Engine>,
}

pub(super) async fn make_engines(inner: &Inner, source: Source) -> Result<Engines> {
    let limit = inner.options.call_timeout;
    let made = async {
        let (look, act) = match source {
            Source::Announced(announcement) => {
                let engine = inner.engines.engine_at(&announcement).await?;
                (Arc::clone(&engine), engine)
            }
            Source::Tunnel(node) => {
                let by = |standing| {
                    let connector = inner.hub.connector_by(&node, standing);
                    inner.engines.engine_over(connector)
                };
                match &inner.election {
                    None => {
                        let engine = by(Standing::Alone).await?;
                        (Arc::clone(&engine), engine)
                    }
                    Some(election) => (
                        by(Standing::Observer).await?,
                        by(Standing::Elected(Arc::clone(election))).await?,
                    ),
                }
            }
        };
        let lent = match inner.election {
            None => act,
            Some(_) => Arc::new(LedEngine::new(Arc::clone(&look), act, inner.leadership())),
        };
        Ok(Engines { own: look, lent })
    };
    inner
        .clock
        .timeout(limit, "making a client for the engine", made)
        .await?
}
