use std::str::FromStr;

use clap::Args;

use super::HostArg;

#[derive(Args, Debug)]
pub struct Enter {
    #[command(flatten)]
    pub host: HostArg,
    #[command(flatten)]
    pub connection: Connection,
    /// Without a terminal in the container, even if there is one here.
    #[arg(long, short = 'T')]
    pub no_tty: bool,
    /// `NAME=value` added to the environment; may be given several times.
    #[arg(long, short = 'e', value_name = "NAME=VALUE")]
    pub env: Vec<String>,
    /// As which user of the container.
    #[arg(
        long,
        short = 'u',
        default_value = "",
        value_name = "USER",
        hide_default_value = true
    )]
    pub user: String,
    /// In which folder of the container.
    #[arg(
        long,
        short = 'w',
        default_value = "",
        value_name = "PATH",
        hide_default_value = true
    )]
    pub workdir: String,
    /// Container by name, id or id prefix.
    pub container: String,
    /// The command and its arguments; without, a shell.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    pub command: Vec<String>,
}

#[derive(Args, Debug)]
pub struct Attach {
    #[command(flatten)]
    pub host: HostArg,
    #[command(flatten)]
    pub connection: Connection,
    /// Earlier output first.
    #[arg(long)]
    pub backlog: bool,
    /// Look on only, also where the process would read.
    #[arg(long)]
    pub no_stdin: bool,
    /// Container by name, id or id prefix.
    pub container: String,
}

#[derive(Args, Debug)]
pub struct Cp {
    #[command(flatten)]
    pub host: HostArg,
    /// What to copy: a local path, or CONTAINER:/PATH.
    pub source: String,
    /// Where to: CONTAINER:/PATH, or a local path. A folder that is there gets the copy inside.
    pub destination: String,
}

#[derive(Args, Debug)]
pub struct Connection {
    /// The node that the container is on, where the name alone does not say it.
    #[arg(long, value_name = "NODE")]
    pub node: Option<String>,
    /// The key that begins an escape at the beginning of a line; `none`: there is no escape.
    #[arg(long, default_value = "~", value_name = "KEY")]
    pub escape: EscapeKey,
    /// For how long a lost connection is tried to be resumed.
    #[arg(long, default_value = "5m", value_name = "DURATION")]
    pub patience: String,
}

/// The escape character.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EscapeKey(pub Option<u8>);

impl FromStr for EscapeKey {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.as_bytes() {
            b"none" => Ok(Self(None)),
            [key] if key.is_ascii_graphic() => Ok(Self(Some(*key))),
            [b'^', key @ (b'@'..=b'_' | b'a'..=b'z')] => Ok(Self(Some(key & 0x1f))),
            _ => Err("expected one character such as ~, a control key such as ^], or none".into()),
        }
    }
}
