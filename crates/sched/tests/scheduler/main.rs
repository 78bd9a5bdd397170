//! The scheduler against the conformance suite of its trait, against tables of Swarm's behaviour,
//! and against a deliberately naive reference implementation.

mod conformance;
mod filters;
mod properties;
mod reference;
mod support;
mod texts;
mod weights;
