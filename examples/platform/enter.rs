//! `platform enter` and `platform attach`: into a container as with ssh. The terminal is restored on
//! every way out, and a lost connection is resumed.

mod converse;
mod end;
mod escape;
mod input;

use std::{
    io::{IsTerminal, stdin, stdout},
    sync::Arc,
    time::Duration,
};

use longshore::{
    Clock, Connector, Error, ErrorKind,
    core::{ClockExt, OsRandom, SystemClock},
    exec::{
        client::{ClientOptions, RemoteExec, RemoteSession},
        protocol::native::{Open, OpenMode},
    },
};

use self::{
    converse::{Over, Parting, converse},
    end::{OURS, ours},
    escape::Escape,
};
use crate::{
    Failure, check,
    cli::{Attach, Connection, Enter, HostArg},
    client,
    say::note,
    terminal::{self, RawTerminal},
};

pub async fn enter(args: Enter) -> Result<(), Failure> {
    let mut open = Open::default();
    open.target = target(&args.connection, &args.container);
    open.tty = !args.no_tty && stdin().is_terminal() && stdout().is_terminal();
    open.stdin = true;
    open.env = args.env;
    open.user = args.user;
    open.dir = args.workdir;
    open.argv = args.command;
    if open.tty {
        let size = terminal::size();
        (open.cols, open.rows) = (size.columns, size.rows);
        open.term = std::env::var("TERM").unwrap_or_default();
    }
    let visit = Visit {
        is_terminal: open.tty,
        has_command: !open.argv.is_empty(),
        stays: false,
        name: args.container,
    };
    let connector = client::connector(&args.host).map_err(ours)?;
    visit
        .pay(connector, &args.host, &args.connection, open)
        .await
}

pub async fn attach(args: Attach) -> Result<(), Failure> {
    let connector = client::connector(&args.host).map_err(ours)?;
    let mut open = Open::default();
    open.target = target(&args.connection, &args.container);
    open.mode = OpenMode::Attach;
    open.backlog = args.backlog;
    let process = Process::of(&connector, &open.target)
        .await
        .map_err(|error| end::refused(&error, &args.container))?;
    open.stdin = process.reads && !args.no_stdin;
    let here = stdin().is_terminal() && stdout().is_terminal();
    let visit = Visit {
        is_terminal: here && process.has_terminal && open.stdin,
        has_command: true,
        stays: true,
        name: args.container,
    };
    visit
        .pay(connector, &args.host, &args.connection, open)
        .await
}

/// What is the same for both.
struct Visit {
    /// Whether our terminal is the container's for as long as this lasts.
    is_terminal: bool,
    has_command: bool,
    /// Whether the process goes on when we leave.
    stays: bool,
    name: String,
}

impl Visit {
    async fn pay(
        self,
        connector: Arc<dyn Connector>,
        host: &HostArg,
        connection: &Connection,
        open: Open,
    ) -> Result<(), Failure> {
        let patience = check::positive("--patience", &connection.patience)
            .map_err(|problem| ours(Failure::new(problem)))?;
        let options = ClientOptions::default()
            .with_address(authority(host), "/v1/exec")
            .with_patience(patience);
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        let remote = RemoteExec::new(connector, options, clock.clone(), Arc::new(OsRandom));
        // Before anything happens that a signal would have to undo.
        let signals = converse::Signals::new()?;
        let opened = remote.open(open).await;
        let session = opened.map_err(|error| end::refused(&error, &self.name))?;
        let escape = Escape::new(connection.escape.0.filter(|_| self.is_terminal));
        let raw = self.is_terminal.then(RawTerminal::enter).transpose()?;
        let parting = converse(&session, escape, raw.as_ref(), signals).await;
        drop(raw);
        self.leave(&session, parting, &*clock).await
    }

    async fn leave(
        &self,
        session: &RemoteSession,
        parting: Parting,
        clock: &dyn Clock,
    ) -> Result<(), Failure> {
        let code = match parting.over {
            Over::Ended => {
                let end = session.ended().await;
                return end::told(end, &self.name, self.has_command);
            }
            Over::Left if self.stays => 0,
            Over::Left => OURS,
            Over::Signalled(number) => 128 + number,
            Over::Failed(failure) => {
                self.give_up(session, clock).await;
                return Err(failure);
            }
        };
        let name = &self.name;
        if parting.is_connected {
            self.give_up(session, clock).await;
        }
        note(match (self.stays, parting.is_connected) {
            (true, _) => format!("left {name}, which goes on"),
            (false, true) => format!("left {name}; what ran for you there is ended"),
            (false, false) => format!(
                "left {name} without a connection: what ran for you there is ended when nobody has \
                 come back for a while"
            ),
        });
        match code {
            0 => Ok(()),
            code => Err(Failure::silent(code)),
        }
    }

    /// Ends the session. A process that takes its time to go is not waited for.
    async fn give_up(&self, session: &RemoteSession, clock: &dyn Clock) {
        use longshore::ExecSession;
        let ended = async {
            let _ = session.close().await;
            let _ = session.ended().await;
        };
        let _ = clock.timeout(GOODBYE, "the goodbye", ended).await;
    }
}

/// What attaching has to know of a container's own process.
struct Process {
    has_terminal: bool,
    reads: bool,
}

impl Process {
    async fn of(connector: &Arc<dyn Connector>, container: &str) -> longshore::Result<Self> {
        let request = http::Request::get(format!("/containers/{container}/json"))
            .body(bytes::Bytes::new())
            .map_err(|error| {
                Error::invalid(format!("the name of container {container:?} is malformed"))
                    .with_source(error)
            })?;
        let found = client::json(connector.clone(), request)
            .await
            .map_err(|error| {
                let is_missing = error.context("status") == Some("404");
                let kind = if is_missing {
                    ErrorKind::NotFound
                } else {
                    error.kind()
                };
                Error::new(kind, error.message().to_owned())
            })?;
        let config = &found["Config"];
        Ok(Self {
            has_terminal: config["Tty"] == true,
            reads: config["OpenStdin"] == true,
        })
    }
}

fn target(connection: &Connection, container: &str) -> String {
    match &connection.node {
        Some(node) => format!("{node}/{container}"),
        None => container.to_owned(),
    }
}

/// The endpoint as `Host` names it.
fn authority(host: &HostArg) -> String {
    let url = host.host.as_deref().unwrap_or_default();
    match url.split_once("://") {
        Some(("tcp" | "http" | "https", rest)) => {
            rest.split('/').next().unwrap_or_default().to_owned()
        }
        _ => "localhost".to_owned(),
    }
}

/// How long leaving may take.
const GOODBYE: Duration = Duration::from_secs(3);
