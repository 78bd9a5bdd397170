//! The scheduler against the conformance suite, against tables of Swarm's behaviour, and against a
//! deliberately naive reference implementation.

mod conformance;
mod golden;
mod properties;
mod reference;
