//! Stubs that are there before their sessions.

mod options;
mod pool;
mod shelf;
mod waiter;

use std::{sync::Arc, time::Duration};

use longshore_core::{ClockExt, Error, ExecRequest, Result};
use longshore_exec_stub::Opening;

pub use self::options::WaitingStubs;
use self::{
    pool::Key,
    shelf::Shelf,
    waiter::{Trace, Waiter},
};
use super::{
    Stub,
    conversation::Event,
    session::{CALL_LIMIT, StubSession},
    wrapped::wrap,
};
use crate::{
    cleanup::{Cleanup, Marker},
    docker::{api::ContainerState, context::Context},
};

/// The stubs that wait in the containers of one engine. When the last handle on this is dropped, they
/// end.
#[derive(Clone, Debug)]
pub(in crate::docker) struct Waiting(Arc<Shelf>);

/// How a session would be opened by a stub that waits.
struct Way {
    key: Key,
    opening: Opening,
    marker: Marker,
}

impl Waiting {
    pub(in crate::docker) fn new(options: WaitingStubs) -> Self {
        Self(Arc::new(Shelf::new(options)))
    }

    /// How many wait.
    pub(in crate::docker) fn count(&self) -> usize {
        self.0.count()
    }

    /// Opens a session through a stub that waits; `None` where there is none, or it can't be this
    /// session: nothing was started then.
    ///
    /// # Errors
    /// The stub was told to start the command, and nobody knows whether it did: it is not to be
    /// started once more.
    ///
    /// # Cancel safety
    /// Dropped, what was started ends.
    pub(in crate::docker) async fn open(
        &self,
        context: &Context,
        request: &ExecRequest,
        container: &ContainerState,
        stub: &Stub,
    ) -> Result<Option<StubSession>> {
        let Some(way) = way(context, request, container, stub) else {
            return Ok(None);
        };
        let Some(waiter) = self.0.take(&way.key).await else {
            return Ok(None);
        };
        self.become_session(context, request, way, waiter).await
    }

    /// Somebody was let into this container: there is to be a stub for the next.
    pub(in crate::docker) fn entered(
        &self,
        context: &Context,
        request: &ExecRequest,
        container: &ContainerState,
        stub: &Stub,
    ) {
        if suits(container) && context.settings.cleanup != Cleanup::Nothing {
            let key = key(
                context,
                wrap(context, request, container).user,
                container,
                stub,
            );
            self.0.entered(context, &key, stub);
        }
    }

    async fn become_session(
        &self,
        context: &Context,
        request: &ExecRequest,
        way: Way,
        mut waiter: Waiter,
    ) -> Result<Option<StubSession>> {
        let clock = &context.api.clock;
        let Way {
            key,
            opening,
            marker,
        } = way;
        waiter.pump.talk.ask();
        let asking = clock.timeout(PROBE_LIMIT, "a stub that waits", waiter.hears());
        match asking.await {
            Ok(Ok(())) => {}
            // It may be the machine that is slow, and another start makes it no faster.
            Err(error) => {
                tracing::debug!(error = error.chain(), "a stub that waits is passed over");
                self.0.put_back(context, &key, waiter);
                return Ok(None);
            }
            Ok(Err(error)) => {
                tracing::debug!(error = error.chain(), "a stub that waited is lost");
                return Ok(None);
            }
        }
        // Whoever gives this up from here on does not know what runs. What is in the background of
        // the others' sessions is to stay, and a search would end it.
        let is_tree = context.settings.cleanup == Cleanup::Tree;
        let mut trace = is_tree.then(|| Trace::new(&context.settings.life, marker.clone()));
        let settle = |trace: &mut Option<Trace>| trace.iter_mut().for_each(Trace::is_settled);
        waiter.pump.talk.open(&opening);
        let answer = clock.timeout(CALL_LIMIT, "the stub's first word", waiter.pump.converse());
        let answer = answer.await.and_then(|answer| answer);
        match answer {
            Ok(Some(event @ (Event::Started | Event::Ended(_)))) => {
                settle(&mut trace);
                let (id, mut pump) = waiter.into_parts();
                if matches!(event, Event::Ended(_)) {
                    pump.talk.put_back(event);
                }
                let marker = Some(marker);
                let session = StubSession::run(context, request, id, pump, marker);
                Ok(Some(session))
            }
            Ok(Some(Event::NotStarted(status))) => {
                settle(&mut trace);
                let id = waiter.session.clone();
                self.0.put_back(context, &key, waiter);
                let session = StubSession::not_started(context, request, id, status);
                Ok(Some(session))
            }
            Ok(Some(Event::Declined(why))) => {
                tracing::debug!(why, "a stub that waited can't be this session");
                settle(&mut trace);
                waiter.is_settled();
                Ok(None)
            }
            Err(_) if waiter.pump.talk.open_is_unsaid() => {
                settle(&mut trace);
                Ok(None)
            }
            other => {
                let error = Error::unavailable(
                    "a stub that waited was told to start the command and has not answered: the \
                     command may have run",
                );
                let error = error.with_retryable(false);
                Err(match other {
                    Err(cause) => error.with_source(cause),
                    Ok(_) => error,
                })
            }
        }
    }
}

/// Whether stubs may wait there: they end with the container, and hold up nobody else.
fn suits(container: &ContainerState) -> bool {
    container.state.running && !container.state.paused && container.ends_its_processes()
}

fn key(context: &Context, user: String, container: &ContainerState, stub: &Stub) -> Key {
    Key {
        container: container.id.clone(),
        user,
        identity: context.settings.life.identity().clone(),
        stub: stub.name().to_owned(),
    }
}

/// `None` where what the engine does for a session can't be done by a stub that it has started
/// already.
fn way(
    context: &Context,
    request: &ExecRequest,
    container: &ContainerState,
    stub: &Stub,
) -> Option<Way> {
    let directory = &request.working_dir;
    let goes = suits(container)
        && !request.privileged
        && (directory.is_empty() || directory.starts_with('/'))
        && request.env.iter().all(|pair| is_plain(pair));
    // Without a mark nobody is to end it, also not its stub.
    let marker = context.mark().filter(|_| goes)?;
    let wrapped = wrap(context, request, container);
    let mut environment = request.env.clone();
    environment.push(marker.pair());
    let opening = Opening {
        directory: directory.clone(),
        arguments: wrapped.words,
        environment,
    };
    let words = opening.arguments.iter().chain(&opening.environment);
    let has_nul = words.chain([directory]).any(|word| word.contains('\0'));
    if has_nul || !opening.fits() {
        return None;
    }
    let key = key(context, wrapped.user, container, stub);
    Some(Way {
        key,
        opening,
        marker,
    })
}

/// Whether a pair is merely set. The engine takes a name without a value for one that is to go, and
/// for an empty `HOME` it looks the user up.
fn is_plain(pair: &str) -> bool {
    match pair.split_once('=') {
        Some((name, value)) => !name.is_empty() && (name, value) != ("HOME", ""),
        None => false,
    }
}

/// How long a stub that waits may take to say that it is there. Short: the engine can be asked
/// instead.
const PROBE_LIMIT: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_with_a_meaning_of_their_own_are_the_engines() {
        for plain in ["A=b", "A=", "HOME=/srv", "A=b=c", "PATH="] {
            assert!(is_plain(plain), "{plain}");
        }
        for other in ["A", "", "=b", "HOME="] {
            assert!(!is_plain(other), "{other}");
        }
    }
}
