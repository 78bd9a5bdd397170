//! The rules of [`Authorizer`].

use crate::testkit::suite::does_not_apply;
use std::sync::Arc;

use async_trait::async_trait;
use futures::future;

use crate::{Action, Authorizer, ErrorKind, Identity, Target};

/// A question to an authorizer.
pub type Question = (Identity, Action, Target);

/// What an authorizer's tests need.
#[async_trait]
pub trait Harness: Send + Sync {
    /// The authorizer under test; every call gives one with the same policy.
    async fn authorizer(&self) -> Arc<dyn Authorizer>;

    /// Questions that its policy answers with yes; empty if there are none.
    fn allowed(&self) -> Vec<Question>;

    /// Questions that its policy answers with no; empty if there are none.
    fn refused(&self) -> Vec<Question>;

    /// Texts that no error may show: tokens, keys, passwords that the policy holds.
    fn secrets(&self) -> Vec<String> {
        Vec::new()
    }

    /// An authorizer whose backend is down; `None` for one that has no backend.
    async fn broken(&self) -> Option<Arc<dyn Authorizer>> {
        None
    }
}

/// Makes one test of each rule for the harness: `access_suite!(paused, MyHarness::new())`.
#[macro_export]
macro_rules! access_suite {
    ($arm:ident, $harness:expr) => {
        $crate::conformance_tests!(
            $arm,
            access,
            $harness,
            [
                what_the_policy_allows_is_allowed,
                a_refusal_is_permission_denied,
                a_refusal_is_final,
                a_refusal_names_no_secret,
                the_same_question_gets_the_same_answer,
                questions_at_the_same_time_get_their_own_answers,
                failure_to_decide_is_neither_leave_nor_refusal,
            ]
        );
    };
}

/// Leave is given where the policy gives it.
pub async fn what_the_policy_allows_is_allowed<H: Harness>(harness: &H) {
    let authorizer = harness.authorizer().await;
    for (who, action, target) in harness.allowed() {
        let answer = authorizer.authorize(&who, action, &target).await;
        assert!(answer.is_ok(), "{who:?} {action:?} {target:?}: {answer:?}");
    }
}

/// A no is [`ErrorKind::PermissionDenied`] and nothing else.
pub async fn a_refusal_is_permission_denied<H: Harness>(harness: &H) {
    let authorizer = harness.authorizer().await;
    for (who, action, target) in harness.refused() {
        let answer = authorizer.authorize(&who, action, &target).await;
        let error = answer.expect_err("the policy refuses this");
        assert_eq!(
            error.kind(),
            ErrorKind::PermissionDenied,
            "{who:?} {action:?} {target:?}"
        );
    }
}

/// Asking again unchanged does not help, and the error says so.
pub async fn a_refusal_is_final<H: Harness>(harness: &H) {
    let authorizer = harness.authorizer().await;
    for (who, action, target) in harness.refused() {
        let error = authorizer
            .authorize(&who, action, &target)
            .await
            .expect_err("refused");
        assert!(!error.is_retryable(), "{error:?}");
    }
}

/// No secret of the policy stands in an error, in any of its forms.
pub async fn a_refusal_names_no_secret<H: Harness>(harness: &H) {
    let authorizer = harness.authorizer().await;
    for (who, action, target) in harness.refused() {
        let error = authorizer
            .authorize(&who, action, &target)
            .await
            .expect_err("refused");
        let shown = format!("{error} {error:?} {} {authorizer:?}", error.chain());
        for secret in harness.secrets() {
            assert!(
                !shown.contains(&secret),
                "a secret is shown for {who:?} {action:?}"
            );
        }
    }
}

/// As long as nothing changed, asking again gives the same answer, whoever asked in between.
pub async fn the_same_question_gets_the_same_answer<H: Harness>(harness: &H) {
    let authorizer = harness.authorizer().await;
    for _ in 0..3 {
        for (who, action, target) in harness.allowed() {
            assert!(authorizer.authorize(&who, action, &target).await.is_ok());
        }
        for (who, action, target) in harness.refused() {
            assert!(authorizer.authorize(&who, action, &target).await.is_err());
        }
    }
}

/// Concurrent questions are not mixed up.
pub async fn questions_at_the_same_time_get_their_own_answers<H: Harness>(harness: &H) {
    let authorizer = harness.authorizer().await;
    let asked = harness
        .allowed()
        .into_iter()
        .map(|question| (question, true))
        .chain(
            harness
                .refused()
                .into_iter()
                .map(|question| (question, false)),
        );
    let asked: Vec<_> = asked.cycle().take(64).collect();
    future::join_all(asked.iter().map(|((who, action, target), leave)| {
        let authorizer = &authorizer;
        async move {
            let answer = authorizer.authorize(who, *action, target).await;
            assert_eq!(answer.is_ok(), *leave, "{who:?} {action:?} {target:?}");
        }
    }))
    .await;
}

/// A backend that is down gives an error of another kind: callers refuse, and can tell why.
pub async fn failure_to_decide_is_neither_leave_nor_refusal<H: Harness>(harness: &H) {
    let Some(authorizer) = harness.broken().await else {
        return does_not_apply("it decides by itself");
    };
    for (who, action, target) in harness.allowed().into_iter().chain(harness.refused()) {
        let error = authorizer
            .authorize(&who, action, &target)
            .await
            .expect_err("an authorizer that can't decide gave leave");
        assert_ne!(error.kind(), ErrorKind::PermissionDenied);
    }
}
