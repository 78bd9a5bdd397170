//! Logs, on standard error unless asked for otherwise, so that output stays clean.

use tracing_subscriber::{EnvFilter, fmt::writer::BoxMakeWriter};

use crate::cli::{Cli, Command, LogFormat, LogLevel, LogTo};

pub fn start(cli: &Cli) {
    let level = match (cli.logging.log_level, cli.logging.debug, &cli.command) {
        (Some(LogLevel::Debug), ..) | (None, true, _) => "debug",
        (Some(LogLevel::Info), ..) | (None, false, Some(Command::Manage(_) | Command::Join(_))) => {
            "info"
        }
        (Some(LogLevel::Warn), ..) => "warn",
        (Some(LogLevel::Error | LogLevel::Fatal | LogLevel::Panic), ..) | (None, false, _) => {
            "error"
        }
    };
    let writer = match cli.logging.log_to {
        LogTo::Stderr => BoxMakeWriter::new(std::io::stderr),
        LogTo::Stdout => BoxMakeWriter::new(std::io::stdout),
    };
    // hyper and bollard speak at debug level of every byte; they stay quiet.
    let filter = EnvFilter::new(format!(
        "{level},hyper=info,hyper_util=info,bollard=info,rustls=info"
    ));
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(writer);
    match cli.logging.log_format {
        LogFormat::Text => subscriber.with_target(false).init(),
        LogFormat::Json => subscriber.json().init(),
    }
}
