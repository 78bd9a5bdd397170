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
