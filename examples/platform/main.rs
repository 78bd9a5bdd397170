//! The reference platform: a control plane, agents and an endpoint out of longshore's parts.
//!
//! `cargo run --release --example platform` starts it with nothing but Rust on the machine;
//! `-- demo` shows the same and exits; `-- manage` and `-- join` serve real Docker engines.

#![expect(unreachable_pub, unnameable_types, reason = "a program has no outside")]

mod asked;
mod cert;
mod check;
mod cli;
mod client;
mod cp;
mod embedded;
mod enter;
mod entrance;
mod exec;
mod explain;
mod gateway_name;
mod join;
mod kv;
mod list;
mod live;
mod logging;
mod manage;
mod page;
mod pending;
mod progress;
mod renewal;
mod replay;
mod say;
mod sessions;
mod signals;
mod stack;
mod stub;
mod terminal;
mod tls;
mod token;

use std::{fmt, process::ExitCode};

use clap::Parser;
use cli::{Cli, Command};
use say::note;

/// Why a command failed: what a person reads behind `error:`, and the exit code.
pub struct Failure {
    message: String,
    code: u8,
}

impl Failure {
    fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            code: 1,
        }
    }

    /// Ends with this code and says nothing more.
    fn silent(code: u8) -> Self {
        Self {
            message: String::new(),
            code,
        }
    }
}

impl From<longshore::Error> for Failure {
    fn from(error: longshore::Error) -> Self {
        Self::new(error.chain())
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self::new(error.to_string())
    }
}

impl From<check::Problems> for Failure {
    fn from(problems: check::Problems) -> Self {
        Self::new(problems.to_string())
    }
}

impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    logging::start(&cli);
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            note(format_args!("error: the runtime can't start: {error}"));
            return ExitCode::FAILURE;
        }
    };
    let result = runtime.block_on(run(cli));
    // A blocked read of the terminal must not hold up the end.
    runtime.shutdown_background();
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            for line in failure.message.lines() {
                // Some of it may be a server's word.
                let line = longshore::core::printable(line, LONGEST_LINE);
                note(format_args!("error: {line}"));
            }
            ExitCode::from(failure.code)
        }
    }
}

const LONGEST_LINE: usize = 4096;

async fn run(cli: Cli) -> Result<(), Failure> {
    match cli.command {
        None => embedded::run(embedded::Mode::Stay).await,
        Some(Command::Demo) => embedded::run(embedded::Mode::Demo).await,
        Some(Command::Create(args)) => token::create(args).await,
        Some(Command::DiscoveryServer(args)) => token::server(args).await,
        Some(Command::Kv(args)) => kv::run(args).await,
        Some(Command::List(args)) => list::run(check::list(&args)?).await,
        Some(Command::Manage(args)) => manage::run(*args).await,
        Some(Command::Join(args)) => join::run(args).await,
        Some(Command::Exec(args)) => exec::run(args).await,
        Some(Command::Enter(args)) => enter::enter(args).await,
        Some(Command::Attach(args)) => enter::attach(args).await,
        Some(Command::Watch(args)) => enter::watch(args).await,
        Some(Command::Cp(args)) => cp::run(args).await,
        Some(Command::Sessions(args)) => sessions::run(args).await,
        Some(Command::Replay(args)) => replay::run(args).await,
        Some(Command::Signal(args)) => live::signal(args).await,
        Some(Command::End(args)) => live::end(args).await,
        Some(Command::Explain(args)) => explain::run(args).await,
        Some(Command::Stack(args)) => stack::run(args).await,
        Some(Command::Pending(args)) => pending::run(args).await,
        Some(Command::Cert(args)) => cert::run(args),
        Some(Command::Page(args)) => page::page(args).await,
        Some(Command::Gateway(args)) => page::gateway(args).await,
    }
}
