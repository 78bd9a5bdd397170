//! Decorators over the traits: retry, timeout, tracing, seeded faults.
//!
//! A [`Layer`] is a policy around single calls; [`Decorated`] puts one around an implementation
//! and is such an implementation itself. Each trait is decorated once, for every layer, and each of
//! its methods describes itself to the layer as an [`Operation`] (its name, what it is about,
//! whether it may be repeated, how long it may take). So a layer of your own (metrics, a rate limit)
//! works with every trait, and no layer can forget a method.
//!
//! ```
//! # use std::{sync::Arc, time::Duration};
//! # use longshore_core::{AllowAll, Authorizer, Clock, OsRandom, SystemClock};
//! use longshore_core::decorate::{LayerExt, Retry, Timeout};
//!
//! # fn build(authorizer: Arc<dyn Authorizer>) -> Arc<dyn Authorizer> {
//! let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
//! let limited = Timeout::new(clock.clone(), Duration::from_secs(5)).wrap(authorizer);
//! let patient = Retry::new(clock, Arc::new(OsRandom)).wrap(limited);
//! # patient
//! # }
//! # build(Arc::new(AllowAll));
//! ```
//!
//! What passes through untouched, in all layers: capabilities, descriptions, and the items of
//! streams (watches, logs, events, bytes). Only the call that opens a stream is decorated.

mod access;
mod audit;
mod decorated;
mod discovery;
mod engine;
mod exec;
mod faulty;
mod kv;
mod layer;
mod operation;
mod overlay;
mod retry;
mod timeout;
mod traced;
mod tunnel;

pub use decorated::Decorated;
pub use faulty::{Fault, Faulty};
pub use layer::{Layer, LayerExt};
pub use operation::Operation;
pub use retry::Retry;
pub use timeout::Timeout;
pub use traced::Traced;
