use std::{ffi::OsString, str::FromStr};

use clap::Args;
use longshore::core::Cleanup;

use super::HostArg;

#[derive(Args, Debug)]
pub struct Enter {
    #[command(flatten)]
    pub host: HostArg,
    #[command(flatten)]
    pub connection: Connection,
    /// Input, and no terminal in the container unless -t is given, too: as with docker exec. Without -i
    /// and -t there is input, and a terminal in the container where there is one here.
    #[arg(long, short = 'i')]
    pub interactive: bool,
    /// A terminal in the container, even if input or output here is none: as with ssh. -it is the
    /// same, as input there is always.
    #[arg(long, short = 't', conflicts_with = "no_tty")]
    pub tty: bool,
    /// Without a terminal in the container, even if there is one here.
    #[arg(long, short = 'T')]
    pub no_tty: bool,
    /// `NAME=value` added to the environment; of a NAME alone, its value here; where it has none, Docker
    /// unsets it. May be given several times.
    #[arg(long, short = 'e', value_name = "NAME[=VALUE]", value_parser = variable)]
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
    /// What happens to its processes when the session ends, also when the connection is lost for good:
    /// `tree`: all of them end; `foreground`: the command and the job in its terminal's foreground end,
    /// and what was put into the background stays (with & in an interactive shell, with setsid or
    /// nohup; redirect its output); `none`: nothing is ended, and there are no signals. Less than tree
    /// only as far as the control plane allows it (manage --exec-least-cleanup). Without it, what the
    /// control plane does: tree.
    #[arg(long, value_name = "tree|foreground|none")]
    pub cleanup: Option<Cleanup>,
    /// Container by name, id or id prefix.
    pub container: String,
    /// The command and its arguments; without, a shell.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    pub command: Vec<String>,
}

impl Enter {
    /// Whether the container gets a terminal.
    pub fn wants_terminal(&self, is_here: bool) -> bool {
        let said_otherwise = self.interactive || self.no_tty;
        self.tty || (is_here && !said_otherwise)
    }
}

/// What docker makes of `-e`: the engine takes a name alone out of the environment.
pub fn variable(text: &str) -> Result<String, String> {
    variable_of(text, |name| std::env::var_os(name))
}

fn variable_of(text: &str, here: impl FnOnce(&str) -> Option<OsString>) -> Result<String, String> {
    if text.is_empty() || text.starts_with('=') {
        return Err("expected NAME=VALUE, or the NAME of a variable here".to_owned());
    }
    match text.contains('=') {
        true => Ok(text.to_owned()),
        false => match here(text).map(OsString::into_string) {
            Some(Ok(value)) => Ok(format!("{text}={value}")),
            Some(Err(_)) => Err(format!("the value of {text} here is not UTF-8")),
            None => Ok(text.to_owned()),
        },
    }
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
pub struct Watch {
    #[command(flatten)]
    pub host: HostArg,
    #[command(flatten)]
    pub line: Line,
    /// With leave to enter: the input of a moderated session goes through while you are here, and its
    /// owner may lend you the keyboard.
    #[arg(long)]
    pub approve: bool,
    /// With --approve, where the session has no terminal: what you type goes line by line.
    #[arg(long, short = 'T', requires = "approve")]
    pub no_tty: bool,
    /// The session's id, or its beginning; `platform sessions --live` lists them.
    pub session: String,
}

#[derive(Args, Debug)]
pub struct Cp {
    #[command(flatten)]
    pub host: HostArg,
    /// Follow a source that is itself a symlink, instead of copying the link.
    #[arg(long, short = 'L')]
    pub follow_link: bool,
    /// What to copy: a local path, CONTAINER:/PATH, NODE/CONTAINER:/PATH where the name alone does not
    /// say which, or - for an archive (tar) from the standard input.
    pub source: String,
    /// Where to: CONTAINER:/PATH, a local path, or - for an archive (tar) to the standard output. A
    /// folder that is there gets the copy inside.
    pub destination: String,
}

#[derive(Args, Debug)]
pub struct Connection {
    /// The node that the container is on, where the name alone does not say it.
    #[arg(long, value_name = "NODE")]
    pub node: Option<String>,
    #[command(flatten)]
    pub line: Line,
}

/// How a session is left, and what keeps it.
#[derive(Args, Debug)]
pub struct Line {
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

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::{Cli, Command};

    #[track_caller]
    fn check(flags: &str, [here, elsewhere]: [bool; 2]) {
        let line = format!("platform enter {flags} web sh -it");
        let cli = Cli::try_parse_from(line.split_whitespace()).expect("it is understood");
        let Some(Command::Enter(args)) = cli.command else {
            panic!("{line}");
        };
        assert_eq!(args.command, ["sh", "-it"], "{line}");
        let wants = [true, false].map(|is_here| args.wants_terminal(is_here));
        assert_eq!(wants, [here, elsewhere], "{line}");
    }

    #[test]
    fn a_variable_without_a_value_has_the_one_it_has_here() {
        let here = |name: &str| (name == "LANG").then(|| OsString::from("C=x"));
        for (text, passed) in [
            ("LANG", Ok("LANG=C=x")),
            ("LANG=", Ok("LANG=")),
            ("OTHER=a=b", Ok("OTHER=a=b")),
            ("OTHER", Ok("OTHER")),
            ("", Err(())),
            ("=x", Err(())),
        ] {
            let variable = variable_of(text, here);
            assert_eq!(variable.as_deref().map_err(|_| ()), passed, "{text}");
        }
        // It is what the flag does.
        let cli = Cli::try_parse_from(["platform", "enter", "-e", "PATH", "web"]);
        let Some(Command::Enter(args)) = cli.expect("it is understood").command else {
            panic!("enter");
        };
        let path = std::env::var("PATH").expect("a path");
        assert_eq!(args.env, [format!("PATH={path}")]);
    }

    #[test]
    fn a_cleanup_is_one_of_three_words() {
        for cleanup in Cleanup::ALL {
            let word = cleanup.as_str();
            let cli = Cli::try_parse_from(["platform", "enter", "--cleanup", word, "web"]);
            let Some(Command::Enter(args)) = cli.expect("it is understood").command else {
                panic!("{word}");
            };
            assert_eq!(args.cleanup, Some(cleanup));
        }
        let told = Cli::try_parse_from(["platform", "enter", "--cleanup", "all", "web"]);
        let told = told.expect_err("it is none").to_string();
        assert!(told.contains("expected tree, foreground or none"), "{told}");
    }

    #[test]
    fn a_terminal_is_asked_for_as_with_ssh_and_with_docker() {
        check("", [true, false]);
        check("-t", [true, true]);
        check("-it", [true, true]);
        check("-i -t", [true, true]);
        check("-ti", [true, true]);
        check("-i", [false, false]);
        check("-T", [false, false]);
        check("-iT", [false, false]);
        let both = ["platform", "enter", "-t", "-T", "web"];
        assert!(Cli::try_parse_from(both).is_err());
    }
}
