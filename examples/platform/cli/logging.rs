use clap::Args;

/// How much is logged, and how.
#[derive(Args, Debug)]
#[command(next_help_heading = "Logging")]
pub struct Logging {
    /// Log in detail; the same as `--log-level debug`, and as a yes (1, true) in DEBUG.
    // Not clap's `env`: DEBUG belongs to many programs, and what they write there is no error here.
    #[arg(long, global = true, hide_possible_values = true,
          value_parser = clap::builder::BoolishValueParser::new(),
          num_args = 0..=1, require_equals = true, default_value = "false", default_missing_value = "true",
          action = clap::ArgAction::Set)]
    pub debug: bool,
    /// How much is logged. Beats `--debug`. `manage`, `join` and `discovery-server` start with `info`,
    /// everything else with `error`.
    #[arg(long, short = 'l', global = true, value_name = "LEVEL")]
    pub log_level: Option<LogLevel>,
    /// Where logs go.
    #[arg(
        long,
        global = true,
        default_value = "stderr",
        value_name = "stderr|stdout"
    )]
    pub log_to: LogTo,
    /// How logs look.
    #[arg(long, global = true, default_value = "text", value_name = "text|json")]
    pub log_format: LogFormat,
    /// Accepted for compatibility with Swarm; nothing is experimental.
    #[arg(long, global = true, hide = true)]
    pub experimental: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum LogLevel {
    Debug,
    Info,
    Warn,
    Error,
    Fatal,
    Panic,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum LogTo {
    Stderr,
    Stdout,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    Text,
    Json,
}
