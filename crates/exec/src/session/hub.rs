mod place;
mod places;

use std::{
    fmt::{self, Debug},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use longshore_core::{
    Access, BoxFuture, CleanupReport, Clock, Error, ExecBackend, Identity, Random, Result,
    SessionId, Shutdown, Signal, Timestamp,
};

use super::{
    Attachment, HubLimits, InputGuard, Launch, Recorder, Role, Screens, SessionAbout, SessionCore,
    SessionEnd, SessionOptions, SessionOrigin, ViewerId, driver::Driver, shared::Shared,
};
use place::Place;
use places::{Entered, Places};

/// Asks again whether somebody may still be in a session.
#[async_trait]
pub trait Leave: Debug + Send + Sync + 'static {
    /// Leave, and for how long; or the refusal. Cancel safe.
    async fn ask(&self) -> Result<Access>;
}

/// What a new session is.
#[non_exhaustive]
pub struct OpenRequest {
    /// Through what.
    pub backend: Arc<dyn ExecBackend>,
    /// What runs.
    pub launch: Launch,
    /// Whose it is; sessions are counted by it.
    pub who: Identity,
    /// Its bounds.
    pub options: SessionOptions,
    /// The leave that was given for it, and who is asked for the next; `None`: it holds for ever.
    pub leave: Option<(Access, Arc<dyn Leave>)>,
    /// Where it comes from, for the record.
    pub origin: SessionOrigin,
    /// Is called when the session has ended, also while its end is kept for who may come back; the
    /// hub's shutdown waits for what it returns.
    pub epilogue: Option<Epilogue>,
    /// Is called when it is known what became of the process's own processes behind the session, where
    /// its backend says so ([`ExecSession::cleaned`](longshore_core::ExecSession::cleaned)). The hub's
    /// shutdown waits for it.
    pub aftermath: Option<Aftermath>,
    /// Its id, where that was made before.
    id: Option<SessionId>,
}

/// What is done with the end of a session.
pub type Epilogue = Box<dyn FnOnce(SessionEnd) -> BoxFuture<'static, ()> + Send>;

/// What is done with the report on what a session left.
pub type Aftermath = Box<dyn FnOnce(CleanupReport) -> BoxFuture<'static, ()> + Send>;

impl OpenRequest {
    /// A session with the default bounds.
    pub fn new(backend: Arc<dyn ExecBackend>, launch: Launch, who: Identity) -> Self {
        Self {
            backend,
            launch,
            who,
            options: SessionOptions::default(),
            leave: None,
            origin: SessionOrigin::default(),
            epilogue: None,
            aftermath: None,
            id: None,
        }
    }

    /// Gives it an id of [`SessionHub::new_id`].
    #[cfg(feature = "gateway")]
    #[must_use]
    pub(crate) fn with_id(mut self, id: SessionId) -> Self {
        self.id = Some(id);
        self
    }

    /// Says where it comes from.
    #[must_use]
    pub fn with_origin(mut self, origin: SessionOrigin) -> Self {
        self.origin = origin;
        self
    }

    /// Sets its bounds.
    #[must_use]
    pub fn with_options(mut self, options: SessionOptions) -> Self {
        self.options = options;
        self
    }

    /// Asks again for leave while the session goes on.
    #[must_use]
    pub fn with_leave(mut self, given: Access, leave: Arc<dyn Leave>) -> Self {
        self.leave = Some((given, leave));
        self
    }

    /// Calls this when the session has ended.
    #[must_use]
    pub fn with_epilogue(mut self, epilogue: Epilogue) -> Self {
        self.epilogue = Some(epilogue);
        self
    }

    /// Calls this when it is known what was left of the session.
    #[must_use]
    pub fn with_aftermath(mut self, aftermath: Aftermath) -> Self {
        self.aftermath = Some(aftermath);
        self
    }
}

impl fmt::Debug for OpenRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpenRequest")
            .field("launch", &self.launch)
            .field("who", &self.who)
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

/// A session as the hub shows it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Opened {
    /// Its id.
    pub session: SessionId,
    /// Whose it is.
    pub who: Identity,
    /// What it is, and where.
    pub about: SessionAbout,
    /// When it was opened.
    pub began: Timestamp,
    /// Whether somebody holds it now.
    pub is_held: bool,
    /// How many connections it has.
    pub connections: usize,
    /// How it ended, if it has.
    pub end: Option<SessionEnd>,
}

/// All sessions of a server: opens them, finds them again, and keeps their number bounded.
///
/// Clones share the sessions. They end when their `Shutdown` is triggered.
#[derive(Clone, Debug)]
pub struct SessionHub {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
    shutdown: Shutdown,
    limits: HubLimits,
    recorder: Option<Arc<dyn Recorder>>,
    screens: Option<Arc<dyn Screens>>,
    without_record: bool,
    guard: Option<Arc<dyn InputGuard>>,
    state: Mutex<Places>,
}

impl SessionHub {
    /// A hub without sessions. Its randomness makes ids and secrets:
    /// [`OsRandom`](longshore_core::OsRandom) outside of tests.
    pub fn new(clock: Arc<dyn Clock>, random: Arc<dyn Random>, shutdown: Shutdown) -> Self {
        Self {
            inner: Arc::new(Inner {
                clock,
                random,
                shutdown,
                limits: HubLimits::default(),
                recorder: None,
                screens: None,
                without_record: false,
                guard: None,
                state: Mutex::default(),
            }),
        }
    }

    /// Sets how many sessions there may be, and what those of a user may take together. Clones made
    /// before keep theirs.
    #[must_use]
    pub fn with_limits(self, limits: HubLimits) -> Self {
        self.rebuild(|inner| inner.limits = limits)
    }

    /// Records every session; one that can't be recorded is ended.
    #[must_use]
    pub fn with_recorder(self, recorder: Arc<dyn Recorder>) -> Self {
        self.rebuild(|inner| inner.recorder = Some(recorder))
    }

    /// Keeps what the terminal of every session shows, for whoever joins late or has missed output.
    /// Sessions without a terminal have none, nor have attachments, whose size is not known.
    #[must_use]
    pub fn with_screens(self, screens: Arc<dyn Screens>) -> Self {
        self.rebuild(|inner| inner.screens = Some(screens))
    }

    /// Lets sessions go on that can't be recorded.
    #[must_use]
    pub fn without_record_if_it_fails(self) -> Self {
        self.rebuild(|inner| inner.without_record = true)
    }

    /// Looks at input before the processes get it.
    #[must_use]
    pub fn with_guard(self, guard: Arc<dyn InputGuard>) -> Self {
        self.rebuild(|inner| inner.guard = Some(guard))
    }

    /// An id for a session, by which it can be announced before it is opened.
    pub(crate) fn new_id(&self) -> Result<SessionId> {
        Ok(SessionId::new(self.inner.random.hex(16))?)
    }

    /// Opens a session and holds it. The process starts in the background: input, sizes and signals
    /// from now on reach it in order, and a failure to start is the session's end.
    ///
    /// Must be called within a runtime.
    ///
    /// # Errors
    /// [`ErrorKind::ResourceExhausted`](longshore_core::ErrorKind::ResourceExhausted) when there are
    /// as many sessions as may be or the user has used up his time, [`ErrorKind::Closed`](longshore_core::ErrorKind::Closed) after the
    /// shutdown.
    pub fn open(&self, request: OpenRequest) -> Result<Attachment> {
        let inner = &self.inner;
        if inner.shutdown.is_requested() {
            return Err(Error::closed("the server is shutting down"));
        }
        let id = request.id.map_or_else(|| self.new_id(), Ok)?;
        let now = inner.clock.now();
        let mut core = SessionCore::new(request.options, now);
        if let (Some(screens), Some(size)) = (&inner.screens, request.launch.terminal()) {
            core = core.with_screen(screens.screen(size));
        }
        let leave = request.leave.map(|(given, leave)| {
            core.authorized(given.valid_for, now);
            leave
        });
        let about = SessionAbout::new(request.who.clone(), &request.launch, request.origin)
            .with_input_recorded(request.options.input_recorded)
            .with_cleanup(request.launch.cleanup(&*request.backend));
        let clock = Arc::clone(&inner.clock);
        let (shared, given_up) = {
            let mut state = inner.lock();
            let Entered { share, given_up } = state.enter(&request.who, &inner.limits, now)?;
            if let Some(share) = &share {
                core = core.with_share(share.clone());
            }
            let random = &*inner.random;
            let about = about.clone();
            let shared = Arc::new(Shared::new(id.clone(), about, leave, core, random, clock));
            state.add(Arc::clone(&shared), share);
            (shared, given_up)
        };
        for shared in given_up {
            shared.by_viewer(|core, _| core.set_grace(Duration::ZERO));
        }
        let place = Place {
            hub: Arc::clone(inner),
            id: id.clone(),
        };
        let attachment = Attachment::new(Arc::clone(&shared), Role::Writer, None, Some(0))?;
        let (hub, epilogue) = (Arc::clone(inner), request.epilogue);
        let ended = Box::new(move |end| {
            hub.ended(&id);
            if let Some(epilogue) = epilogue {
                hub.shutdown.spawn(epilogue(end));
            }
        });
        let driver = Driver::new(shared, request.backend, request.launch)
            .telling(ended)
            .cleaned(request.aftermath.map(|tell| (tell, inner.shutdown.clone())))
            .guarded(inner.guard.as_ref().and_then(|guard| guard.begin(&about)))
            .recording(inner.recorder.clone(), inner.without_record, about);
        let shutdown = inner.shutdown.clone();
        inner.shutdown.spawn(async move {
            driver.run(shutdown).await;
            drop(place);
        });
        Ok(attachment)
    }

    /// Whether a secret is the one of a session, which stays as it is.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`](longshore_core::ErrorKind::NotFound) for an unknown session and for a
    /// wrong secret.
    pub fn check_secret(&self, session: &SessionId, secret: &str) -> Result<()> {
        match self.find(session)?.knows(secret) {
            true => Ok(()),
            false => Err(no_such_session()),
        }
    }

    /// Comes back to a session, with output from `want` on. Whoever holds it is told that it was
    /// taken over.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`](longshore_core::ErrorKind::NotFound) for an unknown session and for a
    /// wrong secret, so that nobody learns which sessions there are;
    /// [`ErrorKind::Protocol`](longshore_core::ErrorKind::Protocol) when `want` lies ahead.
    pub fn resume(&self, session: &SessionId, secret: &str, want: u64) -> Result<Attachment> {
        let shared = self.find(session)?;
        if !shared.renew(secret, &*self.inner.random) {
            return Err(no_such_session());
        }
        Attachment::new(shared, Role::Writer, None, Some(want))
    }

    /// Joins a session to look on, from the oldest output that is kept. The caller has made sure
    /// that it may.
    ///
    /// # Errors
    /// There is no such session, or it has as many connections as may be.
    pub fn watch(&self, session: &SessionId, role: Role) -> Result<Attachment> {
        self.join(session, role, None)
    }

    /// As [`watch`](Self::watch), with who it is: nobody approves their own input in a moderated
    /// session. Somebody is the same by subject, however it was proven.
    ///
    /// # Errors
    /// As for [`watch`](Self::watch).
    pub fn watch_as(&self, session: &SessionId, role: Role, who: &Identity) -> Result<Attachment> {
        self.join(session, role, Some(&who.subject))
    }

    /// As [`watch_as`](Self::watch_as), by somebody who has leave to look only: the right to write is not
    /// passed on to them.
    ///
    /// # Errors
    /// As for [`watch`](Self::watch).
    pub fn look_as(&self, session: &SessionId, who: &Identity) -> Result<Attachment> {
        Attachment::looking(self.find(session)?, &who.subject)
    }

    fn join(&self, session: &SessionId, role: Role, who: Option<&str>) -> Result<Attachment> {
        let role = match role {
            // Who writes needs the secret.
            Role::Writer => Role::Watcher,
            other => other,
        };
        Attachment::new(self.find(session)?, role, who, None)
    }

    /// Asks again whether the session's user may be in it; a refusal ends it. `None` for a session
    /// whose leave holds for ever. Cancel safe.
    pub fn ask_again(&self, session: &SessionId) -> Option<BoxFuture<'static, Result<()>>> {
        let shared = self.find(session).ok()?;
        let leave = shared.leave.clone()?;
        Some(Box::pin(async move {
            let answer = leave.ask().await;
            shared.by_viewer(|core, now| match &answer {
                Ok(access) => core.authorized(access.valid_for, now),
                Err(error) => core.not_authorized(error, now),
            });
            answer.map(drop)
        }))
    }

    /// Whose a session is.
    ///
    /// # Errors
    /// There is no such session.
    pub fn owner(&self, session: &SessionId) -> Result<Identity> {
        Ok(self.find(session)?.who.clone())
    }

    /// Ends a session from outside. The caller has made sure that it may.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`](longshore_core::ErrorKind::NotFound): there is no such session;
    /// [`ErrorKind::Closed`](longshore_core::ErrorKind::Closed): it has ended, or is being ended for
    /// another reason already.
    pub fn end(&self, session: &SessionId, end: SessionEnd) -> Result<()> {
        self.find(session)?
            .by_viewer(|core, now| match core.terminate(end, now) {
                true => Ok(()),
                false if core.end().is_some() => Err(Error::closed("the session has ended")),
                false => Err(Error::closed("the session is ending already")),
            })
    }

    /// Sends a signal to a session's process from outside, whatever protocol its client speaks and
    /// whether there is one. It is on its way when this returns: that the container's engine has no
    /// way to send it is in the log, and told to who writes
    /// ([`Notice::SignalFailed`](super::Notice::SignalFailed)). As for [`end`](Self::end), the caller
    /// has made sure that it may.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`](longshore_core::ErrorKind::NotFound): there is no such session;
    /// [`ErrorKind::Closed`](longshore_core::ErrorKind::Closed): it has ended;
    /// [`ErrorKind::ResourceExhausted`](longshore_core::ErrorKind::ResourceExhausted): too many others
    /// wait.
    pub fn signal(&self, session: &SessionId, signal: Signal) -> Result<()> {
        self.find(session)?
            .by_viewer(|core, _| core.signal_from_outside(signal))
    }

    /// The connections of a session, with what each may do, in the order in which they came.
    ///
    /// # Errors
    /// There is no such session.
    pub fn connections(&self, session: &SessionId) -> Result<Vec<(ViewerId, Role)>> {
        Ok(self.find(session)?.look(|core, _| core.connections()))
    }

    /// Passes the right to write in a session to one of its connections, from outside: a moderator's.
    /// The caller has made sure that it may.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`](longshore_core::ErrorKind::NotFound): there is no such session or
    /// connection; [`ErrorKind::PermissionDenied`](longshore_core::ErrorKind::PermissionDenied): the
    /// connection has leave to look only.
    pub fn grant(&self, session: &SessionId, to: ViewerId) -> Result<()> {
        self.find(session)?
            .by_viewer(|core, _| core.grant_from_outside(to))
    }

    /// All sessions, in no order.
    pub fn sessions(&self) -> Vec<Opened> {
        let sessions: Vec<_> = {
            let state = self.inner.lock();
            state.all().map(Arc::clone).collect()
        };
        let shown = sessions.iter().map(|shared| {
            let (is_held, connections, end) = shared.look(|core, _| {
                let connections = core.connections().len();
                (core.has_writer(), connections, core.end().cloned())
            });
            Opened {
                session: shared.id.clone(),
                who: shared.who.clone(),
                about: shared.about.clone(),
                began: shared.began,
                is_held,
                connections,
                end,
            }
        });
        shown.collect()
    }

    fn find(&self, session: &SessionId) -> Result<Arc<Shared>> {
        let state = self.inner.lock();
        let found = state.find(session).map(Arc::clone);
        found.ok_or_else(no_such_session)
    }

    fn rebuild(self, change: impl FnOnce(&mut Inner)) -> Self {
        let old = &self.inner;
        let mut inner = Inner {
            clock: Arc::clone(&old.clock),
            random: Arc::clone(&old.random),
            shutdown: old.shutdown.clone(),
            limits: old.limits,
            recorder: old.recorder.clone(),
            screens: old.screens.clone(),
            without_record: old.without_record,
            guard: old.guard.clone(),
            state: Mutex::default(),
        };
        change(&mut inner);
        Self {
            inner: Arc::new(inner),
        }
    }
}

impl Inner {
    fn lock(&self) -> MutexGuard<'_, Places> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ended(&self, session: &SessionId) {
        let now = self.clock.now();
        self.lock().ended(session, now);
    }
}

fn no_such_session() -> Error {
    Error::not_found("no such session, or its secret is not the one that was shown")
}
