//! `platform enter`, `platform attach` and `platform watch`: into a container as with ssh, or beside
//! somebody who is there. The terminal is restored on
//! every way out, and a lost connection is resumed.

mod converse;
mod end;
mod escape;
mod input;
mod people;
pub mod signals;
mod status;
mod words;

use std::{
    io::{IsTerminal, stdin, stdout},
    sync::Arc,
    time::Duration,
};

use longshore::{
    Clock, Connector, Error, ExecSession,
    core::{ClockExt, OsRandom, SystemClock},
    exec::{
        client::{ClientOptions, RemoteExec, RemoteSession},
        protocol::native::{Open, OpenMode},
    },
};

use self::{
    converse::{Here, Over, Parting, converse},
    end::{OURS, ours},
    escape::Escape,
    input::Stdin,
    signals::{Signals, code_of},
    words::{Farewell, greeting},
};
use crate::{
    Failure, check,
    cli::{Attach, Connection, Enter, HostArg, Line, Watch},
    client, live,
    say::note,
    terminal::{self, RawTerminal},
};

pub async fn enter(args: Enter) -> Result<(), Failure> {
    let is_here = stdin().is_terminal();
    let mut open = Open::default();
    open.target = target(&args.connection, &args.container);
    open.tty = args.wants_terminal(is_here && stdout().is_terminal());
    open.stdin = true;
    open.env = args.env;
    open.user = args.user;
    open.dir = args.workdir;
    open.argv = args.command;
    open.cleanup = args.cleanup;
    if open.tty {
        let size = terminal::size();
        (open.cols, open.rows) = (size.columns, size.rows);
        open.term = std::env::var("TERM").unwrap_or_default();
    }
    let visit = Visit {
        stdin: Stdin::of(is_here, open.tty),
        has_command: !open.argv.is_empty(),
        kind: Kind::Enter,
        name: args.container,
    };
    let connector = client::connector(&args.host).map_err(ours)?;
    let mut signals = Signals::new().map_err(|error| ours(error.into()))?;
    visit
        .pay(
            connector,
            &args.host,
            &args.connection.line,
            open,
            &mut signals,
        )
        .await
}

pub async fn attach(args: Attach) -> Result<(), Failure> {
    let connector = client::connector(&args.host).map_err(ours)?;
    let mut open = Open::default();
    open.target = target(&args.connection, &args.container);
    open.mode = OpenMode::Attach;
    open.backlog = args.backlog;
    let mut signals = Signals::new().map_err(|error| ours(error.into()))?;
    let process = match signals.or(Process::of(&connector, &open.target)).await {
        Ok(process) => {
            process.map_err(|error| end::refused(&error, Kind::Attach, &args.container))?
        }
        Err(signal) => return Err(Failure::silent(code_of(signal))),
    };
    open.stdin = process.reads && !args.no_stdin;
    let is_raw = process.has_terminal && open.stdin && stdout().is_terminal();
    // Whoever passes nothing on reads only how to leave, and that is for the foreground.
    let is_watched = stdin().is_terminal() && (open.stdin || terminal::is_ours_to_read());
    let visit = Visit {
        stdin: Stdin::of(is_watched, is_raw),
        has_command: true,
        kind: Kind::Attach,
        name: args.container,
    };
    visit
        .pay(
            connector,
            &args.host,
            &args.connection.line,
            open,
            &mut signals,
        )
        .await
}

/// Looks on at a session that somebody else has.
pub async fn watch(args: Watch) -> Result<(), Failure> {
    let connector = client::connector(&args.host).map_err(ours)?;
    let mut signals = Signals::new().map_err(|error| ours(error.into()))?;
    let finding = live::find(connector.clone(), &args.session);
    let session = match signals.or(finding).await {
        Ok(found) => found.map_err(ours)?,
        Err(signal) => return Err(Failure::silent(code_of(signal))),
    };
    let is_raw = args.approve && !args.no_tty && stdin().is_terminal() && stdout().is_terminal();
    let is_watched = stdin().is_terminal() && (args.approve || terminal::is_ours_to_read());
    let visit = Visit {
        stdin: Stdin::of(is_watched, is_raw),
        has_command: true,
        kind: Kind::Watch,
        name: format!("session {session}"),
    };
    let open = Open::look_on(session, args.approve);
    visit
        .pay(connector, &args.host, &args.line, open, &mut signals)
        .await
}

/// What somebody wants of a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A command of their own.
    Enter,
    /// The container's own process.
    Attach,
    /// Somebody else's session.
    Watch,
}

/// What is the same for all.
struct Visit {
    /// Our input for as long as this lasts. Of keys the terminal is the container's.
    stdin: Stdin,
    has_command: bool,
    kind: Kind,
    name: String,
}

impl Visit {
    async fn pay(
        self,
        connector: Arc<dyn Connector>,
        host: &HostArg,
        line: &Line,
        open: Open,
        signals: &mut Signals,
    ) -> Result<(), Failure> {
        let patience = check::positive("--patience", &line.patience)
            .map_err(|problem| ours(Failure::new(problem)))?;
        let options = ClientOptions::default()
            .with_address(authority(host), "/v1/exec")
            .with_patience(patience);
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        let remote = RemoteExec::new(
            connector.clone(),
            options,
            clock.clone(),
            Arc::new(OsRandom),
        );
        let is_watched = self.stdin != Stdin::Pipe;
        let reads = open.stdin;
        let opening = async {
            match is_watched {
                // It says so when it takes longer.
                true => client::answer(&*connector, remote.open(open)).await,
                false => remote.open(open).await,
            }
        };
        let session = match signals.or(opening).await {
            Ok(opened) => opened.map_err(|error| end::refused(&error, self.kind, &self.name))?,
            Err(signal) => return Err(self.called_off(signal)),
        };
        let escape = Escape::new(line.escape.0.filter(|_| is_watched));
        if self.stays() {
            self.greet(&session, &escape, reads, signals).await?;
        }
        let raw = (self.stdin == Stdin::Keys).then(RawTerminal::enter);
        let raw = raw.transpose()?;
        if self.stays() && raw.is_some() {
            // A terminal that was there before us has another size; it is told once we may type.
            let _ = session.resize(terminal::size()).await;
        }
        let here = Here {
            stdin: self.stdin,
            raw: raw.as_ref(),
            leaving: match self.kind {
                Kind::Enter => "what runs there is ended",
                Kind::Attach => "the container goes on",
                Kind::Watch => "the session goes on",
            },
            looks_on: self.kind == Kind::Watch,
        };
        let parting = converse(&session, escape, here, signals).await;
        drop(raw);
        self.leave(&session, parting, signals, &*clock).await
    }

    /// Whether what runs there goes on when we leave.
    fn stays(&self) -> bool {
        self.kind != Kind::Enter
    }

    /// A signal came before there was anything to see.
    fn called_off(&self, signal: u8) -> Failure {
        let name = &self.name;
        // Raw mode has not begun.
        let fresh = match signals::is_typed(signal) && self.stdin != Stdin::Pipe {
            true => "\n",
            false => "",
        };
        note(match self.stays() {
            true => format!("{fresh}left before {name} answered"),
            false => format!(
                "{fresh}left before {name} answered: what may begin there for you is ended when \
                 nobody has come for it within a while"
            ),
        });
        Failure::silent(code_of(signal))
    }

    /// What begins a line behind the `^C` that a terminal shows; in raw mode it shows none.
    fn fresh_line(&self, signal: u8) -> &'static str {
        match signals::is_typed(signal) && self.stdin == Stdin::Lines {
            true => "\n",
            false => "",
        }
    }

    /// Tells how to leave, once there is something to leave.
    async fn greet(
        &self,
        session: &RemoteSession,
        escape: &Escape,
        reads: bool,
        signals: &mut Signals,
    ) -> Result<(), Failure> {
        match signals.or(session.started()).await {
            Err(signal) => Err(self.called_off(signal)),
            // The conversation ends at once and says why.
            Ok(Err(_)) => Ok(()),
            Ok(Ok(())) => {
                let key = escape.name();
                let greeting = greeting(self.kind, &self.name, self.stdin, reads, key.as_deref());
                if let Some(text) = greeting {
                    note(format_args!("platform: {text}"));
                }
                Ok(())
            }
        }
    }

    async fn leave(
        &self,
        session: &RemoteSession,
        parting: Parting,
        signals: &mut Signals,
        clock: &dyn Clock,
    ) -> Result<(), Failure> {
        let mut fresh = "";
        let code = match parting.over {
            Over::Ended => {
                let end = session.ended().await;
                if self.kind == Kind::Watch {
                    return end::watched(end, &self.name);
                }
                return end::told(end, &self.name, self.has_command);
            }
            Over::Left if self.stays() => 0,
            Over::Left => OURS,
            Over::Signalled(signal) => {
                fresh = self.fresh_line(signal);
                code_of(signal)
            }
            Over::Failed(failure) => {
                self.give_up(session, signals, clock).await;
                return Err(failure);
            }
        };
        let farewell = match parting.is_connected {
            true => self.give_up(session, signals, clock).await,
            false => Farewell::Cut,
        };
        let farewell = match self.stays() {
            true => Farewell::Stays,
            false => farewell,
        };
        note(format_args!("{fresh}{}", farewell.of_visit_to(&self.name)));
        match code {
            0 => Ok(()),
            code => Err(Failure::silent(code)),
        }
    }

    /// Ends the session, and says what is known of that. A process that takes its time to go is not
    /// waited for, and whoever asks once more to leave does not wait at all.
    async fn give_up(
        &self,
        session: &RemoteSession,
        signals: &mut Signals,
        clock: &dyn Clock,
    ) -> Farewell {
        let ended = async {
            let _ = session.close().await;
            session.ended().await
        };
        let ended = signals
            .or(clock.timeout(GOODBYE, "the goodbye", ended))
            .await;
        Farewell::of(ended.ok().and_then(Result::ok))
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
        let found = match client::json(connector.clone(), request).await {
            // The gateway says what there is not: the container, or its node.
            Err(error) if error.context("status") == Some("404") => serde_json::Value::Null,
            found => found.map_err(|error| Error::new(error.kind(), error.message().to_owned()))?,
        };
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
pub fn authority(host: &HostArg) -> String {
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
