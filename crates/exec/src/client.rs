//! The client of [`longshore.exec.v1`](crate::protocol::native).
//!
//! A [`RemoteExec`] is an [`ExecBackend`] at the other side of a gateway. Its sessions survive lost
//! connections: the client dials again, resumes, and neither side loses or doubles a byte.

mod answers;
mod company;
mod connection;
mod core;
mod delivery;
mod driver;
mod input;
mod notice;
mod options;
mod session;

use std::{fmt, sync::Arc};

use async_trait::async_trait;
use longshore_core::{
    AttachRequest, Cleanup, Clock, Connector, Error, ErrorKind, ExecBackend, ExecRequest,
    ExecSession, Random, Result, SessionId, TerminalSize,
};

pub use self::{
    company::Company,
    core::{ClientCore, ClientEvent},
    notice::Notice,
    options::ClientOptions,
    session::{Link, RemoteSession},
};
use crate::protocol::native::{Open, OpenMode};

/// Exec through a gateway, wherever a [`Connector`] leads: TCP, TLS, a tunnel's stream.
#[derive(Clone)]
pub struct RemoteExec {
    connector: Arc<dyn Connector>,
    options: Arc<ClientOptions>,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
}

impl RemoteExec {
    /// Nothing is dialled yet.
    pub fn new(
        connector: Arc<dyn Connector>,
        options: ClientOptions,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
    ) -> Self {
        Self {
            connector,
            options: Arc::new(options),
            clock,
            random,
        }
    }

    /// Opens a session, of any mode. It returns when the session exists; its process may not have
    /// started yet, which [`RemoteSession::started`] waits for.
    ///
    /// Must be called within a runtime.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`] when the gateway can't be reached,
    /// [`ErrorKind::PermissionDenied`], [`ErrorKind::NotFound`] and
    /// [`ErrorKind::ResourceExhausted`] as the gateway says, [`ErrorKind::Unsupported`] when it does not
    /// follow a [`cleanup`](Open::cleanup).
    ///
    /// # Cancel safety
    /// Safe: a session opened by a dropped call ends with its grace time.
    pub async fn open(&self, mut open: Open) -> Result<RemoteSession> {
        if open.token.is_none() {
            open.token.clone_from(&self.options.token);
        }
        if open.mode == OpenMode::Exec && open.cleanup.is_none() {
            open.cleanup = self.options.cleanup;
        }
        open.compress |= self.options.compress;
        open.people = true;
        let core = ClientCore::new(open);
        let dialler = connection::Dialler {
            connector: Arc::clone(&self.connector),
            options: Arc::clone(&self.options),
            clock: Arc::clone(&self.clock),
        };
        driver::open(core, dialler, Arc::clone(&self.random)).await
    }

    /// Looks on at a session that somebody else opened, from the oldest output that is kept. A lost
    /// connection is made up for as long as the gateway has what was missed; the session goes on when
    /// the returned one is dropped or closed.
    ///
    /// Must be called within a runtime.
    ///
    /// # Errors
    /// As for [`open`](Self::open); [`ErrorKind::NotFound`]: there is no such session.
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn watch(&self, session: &SessionId) -> Result<RemoteSession> {
        self.open(Open::look_on(session.to_string(), false)).await
    }

    /// As [`watch`](Self::watch), by somebody who may enter the session: the input of a moderated one
    /// goes through as long as it is there, and its owner may pass the right to write to it
    /// ([`RemoteSession::grant`]); [`RemoteSession::companies`] tells when that happened.
    ///
    /// # Errors
    /// As for [`watch`](Self::watch).
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn approve(&self, session: &SessionId) -> Result<RemoteSession> {
        self.open(Open::look_on(session.to_string(), true)).await
    }

    async fn start(&self, open: Open) -> Result<Arc<dyn ExecSession>> {
        let session = self.open(open).await?;
        session.started().await?;
        Ok(Arc::new(session))
    }
}

#[async_trait]
impl ExecBackend for RemoteExec {
    async fn exec(&self, request: &ExecRequest) -> Result<Arc<dyn ExecSession>> {
        if request.command.is_empty() {
            return Err(Error::invalid("the command to execute is empty"));
        }
        if request.privileged {
            return Err(Error::new(
                ErrorKind::Unsupported,
                "a gateway starts no privileged commands",
            ));
        }
        let size = request.size.unwrap_or(TerminalSize::new(0, 0));
        let open = Open {
            target: request.workload.to_string(),
            argv: request.command.clone(),
            tty: request.tty,
            stdin: request.stdin,
            cols: size.columns,
            rows: size.rows,
            env: request.env.clone(),
            dir: request.working_dir.clone(),
            user: request.user.clone(),
            cleanup: request.cleanup,
            ..Open::default()
        };
        self.start(open).await
    }

    async fn attach(&self, request: &AttachRequest) -> Result<Arc<dyn ExecSession>> {
        let open = Open {
            target: request.workload.to_string(),
            mode: OpenMode::Attach,
            stdin: request.stdin,
            backlog: request.backlog,
            ..Open::default()
        };
        self.start(open).await
    }

    /// What the options ask for; else the gateway decides.
    fn default_cleanup(&self) -> Option<Cleanup> {
        self.options.cleanup
    }
}

impl fmt::Debug for RemoteExec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RemoteExec")
            .field("gateway", &self.connector.describe())
            .finish_non_exhaustive()
    }
}
