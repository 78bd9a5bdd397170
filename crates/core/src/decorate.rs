//! Decorators over the traits: retry, timeout, tracing, seeded faults.
