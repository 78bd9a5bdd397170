//! Logs, on standard error unless asked for otherwise, so that output stays clean.

use std::{ffi::OsStr, io::IsTerminal};

use tracing_subscriber::{EnvFilter, fmt::writer::BoxMakeWriter};

use crate::cli::{Cli, Command, LogFormat, LogLevel, LogTo};

pub fn start(cli: &Cli) {
    let debug = cli.logging.debug || asks_for_debug(std::env::var_os("DEBUG").as_deref());
    let level = match (cli.logging.log_level, debug, &cli.command) {
        (Some(LogLevel::Debug), ..) | (None, true, _) => "debug",
        (Some(LogLevel::Info), ..) => "info",
        (None, false, Some(command)) if serves(command) => "info",
        (Some(LogLevel::Warn), ..) => "warn",
        (Some(LogLevel::Error | LogLevel::Fatal | LogLevel::Panic), ..) | (None, false, _) => {
            "error"
        }
    };
    let (writer, terminal) = match cli.logging.log_to {
        LogTo::Stderr => (
            BoxMakeWriter::new(std::io::stderr),
            std::io::stderr().is_terminal(),
        ),
        LogTo::Stdout => (
            BoxMakeWriter::new(std::io::stdout),
            std::io::stdout().is_terminal(),
        ),
    };
    // hyper and bollard speak at debug level of every byte; they stay quiet.
    let filter = EnvFilter::new(format!(
        "{level},hyper=info,hyper_util=info,bollard=info,rustls=info"
    ));
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(colours(terminal, std::env::var_os("NO_COLOR").as_deref()))
        // It would say so on standard error, and panic where that is closed.
        .log_internal_errors(false)
        .with_writer(writer);
    match cli.logging.log_format {
        LogFormat::Text => subscriber.with_target(false).init(),
        LogFormat::Json => subscriber.json().init(),
    }
}

/// What runs until it is stopped has nothing but its log to say how it goes.
fn serves(command: &Command) -> bool {
    matches!(
        command,
        Command::Manage(_) | Command::Join(_) | Command::DiscoveryServer(_)
    )
}

/// Escape codes are for terminals, and for people who did not say no: <https://no-color.org>.
fn colours(terminal: bool, no_color: Option<&OsStr>) -> bool {
    terminal && no_color.is_none_or(OsStr::is_empty)
}

/// `DEBUG` belongs to many programs (`express:*`): what is no yes is not meant for this one.
fn asks_for_debug(variable: Option<&OsStr>) -> bool {
    let value = variable.and_then(OsStr::to_str).unwrap_or_default();
    ["1", "true", "yes", "on", "y", "t"].contains(&value.to_ascii_lowercase().as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redirected_logs_hold_no_escape_codes() {
        assert!(colours(true, None) && colours(true, Some(OsStr::new(""))));
        assert!(!colours(true, Some(OsStr::new("1"))));
        assert!(!colours(false, None));
    }

    #[test]
    fn only_a_yes_in_debug_counts() {
        for yes in ["1", "true", "TRUE", "on"] {
            assert!(asks_for_debug(Some(OsStr::new(yes))));
        }
        for no in ["", "0", "false", "express:*"] {
            assert!(!asks_for_debug(Some(OsStr::new(no))), "{no}");
        }
        assert!(!asks_for_debug(None));
    }
}
