/// Turns the rules of one suite module into tests. The suite macros call it; implementations call
/// those.
#[doc(hidden)]
#[macro_export]
macro_rules! conformance_tests {
    (paused, $module:ident, $harness:expr, [$($rule:ident),* $(,)?]) => {
        $(
            #[::tokio::test(start_paused = true)]
            async fn $rule() {
                let harness = $harness;
                $crate::testkit::$module::$rule(&harness).await;
            }
        )*
    };
    (live, $module:ident, $harness:expr, [$($rule:ident),* $(,)?]) => {
        $(
            #[::tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $rule() {
                let harness = $harness;
                $crate::testkit::$module::$rule(&harness).await;
            }
        )*
    };
}

/// Says in the test's output that its rule asks for what the implementation does not claim, or for
/// what its harness can't bring about. So it is told from a rule that was held: `cargo xtask test`
/// lists these.
#[expect(clippy::print_stdout, reason = "it speaks to whoever runs the tests")]
pub(crate) fn does_not_apply(why: &str) {
    let test = std::thread::current();
    println!("NOT APPLICABLE {}: {why}", test.name().unwrap_or("a rule"));
}
