//! The authorizers of core pass the access suite, and so does one whose backend can fail.
#![cfg(feature = "testkit")]
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::sync::Arc;

use async_trait::async_trait;
use longshore_core::{
    Access, Action, AllowAll, Authorizer, DenyAll, Error, ErrorKind, Identity, Result, SystemClock,
    Target,
    decorate::{Fault, Faulty, LayerExt, Retry},
    testkit::access::{Harness, Question},
};

fn question(subject: &str, action: Action) -> Question {
    (
        Identity::new(subject, "token"),
        action,
        Target::new("container", "web"),
    )
}

fn questions() -> Vec<Question> {
    vec![
        question("alice", Action::Read),
        question("mallory", Action::Administer),
    ]
}

struct Allow;

#[async_trait]
impl Harness for Allow {
    async fn authorizer(&self) -> Arc<dyn Authorizer> {
        Arc::new(AllowAll)
    }

    fn allowed(&self) -> Vec<Question> {
        questions()
    }

    fn refused(&self) -> Vec<Question> {
        Vec::new()
    }
}

struct Deny;

#[async_trait]
impl Harness for Deny {
    async fn authorizer(&self) -> Arc<dyn Authorizer> {
        Arc::new(DenyAll)
    }

    fn allowed(&self) -> Vec<Question> {
        Vec::new()
    }

    fn refused(&self) -> Vec<Question> {
        questions()
    }
}

/// Lets in who shows the token, to read. A stand-in for a backend over the network.
#[derive(Debug)]
struct Readers;

const TOKEN: &str = "t0p-s3cret";

#[async_trait]
impl Authorizer for Readers {
    async fn authorize(&self, who: &Identity, action: Action, _: &Target) -> Result<Access> {
        if who.subject == "alice" && action == Action::Read {
            return Ok(Access::default());
        }
        Err(Error::new(
            ErrorKind::PermissionDenied,
            "only alice reads, nobody writes",
        ))
    }
}

/// The same policy behind a connection that loses half of all calls, with retries around it.
struct Unsteady;

#[async_trait]
impl Harness for Unsteady {
    async fn authorizer(&self) -> Arc<dyn Authorizer> {
        let clock = Arc::new(SystemClock::new());
        let faulty = Faulty::new(clock.clone(), 7, Fault::refusing(0.3).with_lost(0.3));
        let random = Arc::new(longshore_core::SeededRandom::new(1));
        let attempts = std::num::NonZeroU32::new(30).unwrap();
        Retry::new(clock, random)
            .with_attempts(attempts)
            .wrap(faulty.wrap(Arc::new(Readers)))
    }

    fn allowed(&self) -> Vec<Question> {
        vec![question("alice", Action::Read)]
    }

    fn refused(&self) -> Vec<Question> {
        vec![
            question("alice", Action::Write),
            question("mallory", Action::Read),
        ]
    }

    fn secrets(&self) -> Vec<String> {
        vec![TOKEN.to_owned()]
    }

    async fn broken(&self) -> Option<Arc<dyn Authorizer>> {
        let clock = Arc::new(SystemClock::new());
        Some(Faulty::new(clock, 7, Fault::refusing(1.0)).wrap(Arc::new(Readers)))
    }
}

mod allow_all {
    use super::*;
    longshore_core::access_suite!(paused, Allow);
}

mod allow_all_live {
    use super::*;
    longshore_core::access_suite!(live, Allow);
}

mod deny_all {
    use super::*;
    longshore_core::access_suite!(paused, Deny);
}

mod retry_over_an_unsteady_backend {
    use super::*;
    longshore_core::access_suite!(paused, Unsteady);
}
