//! Cases by seed, so that one that failed runs again from one line.

use proptest::{
    prelude::*,
    test_runner::{Config, RngAlgorithm, TestCaseResult, TestError, TestRng, TestRunner},
};

use super::steps::Step;

const SEED: &str = "LONGSHORE_MODEL_SEED";

/// Runs so many cases of new seeds, or the one of the seed from outside. `test` is the test's name.
pub fn run(
    (target, test): (&str, &str),
    cases: u32,
    most_shrinks: u32,
    steps: &impl Strategy<Value = Vec<Step>>,
    body: impl Fn(Vec<Step>) -> TestCaseResult,
) {
    let given = std::env::var(SEED).ok();
    let given: Option<u64> = given.map(|seed| seed.parse().expect("the seed is a number"));
    let (first, cases) = match given {
        Some(seed) => (seed, 1),
        None => (
            TestRunner::new(Config::default()).rng().next_u64() >> 16,
            cases,
        ),
    };
    for seed in first..first + u64::from(cases) {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&seed.to_le_bytes());
        let config = Config {
            cases: 1,
            max_shrink_iters: most_shrinks,
            failure_persistence: None,
            ..Config::default()
        };
        let random = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
        match TestRunner::new_with_rng(config, random).run(steps, &body) {
            Ok(()) => {}
            Err(TestError::Fail(reason, steps)) => panic!(
                "{reason}\nreplay: {SEED}={seed} cargo test -p longshore-discovery --all-features \
                 --test {target} {test}\nshrunk to {}: {steps:?}",
                steps.len()
            ),
            Err(error) => panic!("seed {seed}: {error}"),
        }
    }
}
