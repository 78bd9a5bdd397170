//! The scheduler against the conformance suite of its trait, against tables of Swarm's behaviour,
//! and against a deliberately naive reference implementation.

#![expect(
    clippy::unwrap_used,
    reason = "a test may be blunt, in its helpers too"
)]

mod bad_input;
mod clusters;
mod conformance;
mod devices;
mod filters;
mod large;
mod plans;
mod preferences;
mod properties;
mod reference;
mod rules;
mod support;
mod texts;
mod weights;
mod worlds;
