//! The commands that the engine and exec suites run inside workloads.

use std::{fmt::Write, time::Duration};

/// Commands with a behaviour that the suites know, in the words of one kind of engine.
///
/// [`Shell`] has them for everything with a POSIX shell and the usual tools (also busybox).
pub trait Programs: Send + Sync {
    /// Prints `ready` and a newline, then runs until a TERM, which ends it with code 143.
    fn forever(&self) -> Vec<String>;

    /// Prints `ready` and a newline, then runs on whatever comes, except KILL.
    fn stubborn(&self) -> Vec<String>;

    /// Prints `ready` and a newline; a USR1 ends it with this code.
    fn exit_on_usr1(&self, code: u8) -> Vec<String>;

    /// Prints these bytes to standard output and those to standard error, and exits with 0.
    fn print(&self, stdout: &[u8], stderr: &[u8]) -> Vec<String>;

    /// Prints `first`, waits, prints `second`, and exits with 0.
    fn print_slowly(&self, first: &[u8], pause: Duration, second: &[u8]) -> Vec<String>;

    /// Prints the numbers from 1 to `count`, one on each line.
    fn lines(&self, count: u32) -> Vec<String>;

    /// Exits at once with this code.
    fn exit(&self, code: u8) -> Vec<String>;

    /// Copies its input to its output until the input ends.
    fn copy(&self) -> Vec<String>;

    /// Reads its input to the end, then prints how many bytes it was and a newline.
    fn count(&self) -> Vec<String>;

    /// On a terminal: turns off all processing, prints `R`, then copies `bytes` bytes from input
    /// to output and exits with 0.
    fn copy_raw(&self, bytes: usize) -> Vec<String>;

    /// On a terminal without echo: prints `R`, reads a line, then prints `<rows> <columns>`.
    fn terminal_size(&self) -> Vec<String>;

    /// Prints the value of an environment variable.
    fn print_env(&self, name: &str) -> Vec<String>;

    /// A program that does not exist.
    fn missing(&self) -> Vec<String>;
}

/// The programs as scripts for `sh`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Shell;

impl Programs for Shell {
    fn forever(&self) -> Vec<String> {
        script("trap 'exit 143' TERM; echo ready; while :; do sleep 1 & wait $!; done")
    }

    fn stubborn(&self) -> Vec<String> {
        script("trap '' TERM HUP INT; echo ready; while :; do sleep 1; done")
    }

    fn exit_on_usr1(&self, code: u8) -> Vec<String> {
        script(&format!(
            "trap 'exit {code}' USR1; echo ready; while :; do sleep 1 & wait $!; done"
        ))
    }

    fn print(&self, stdout: &[u8], stderr: &[u8]) -> Vec<String> {
        script(&format!(
            "printf %b '{}'; printf %b '{}' >&2",
            escape(stdout),
            escape(stderr)
        ))
    }

    fn print_slowly(&self, first: &[u8], pause: Duration, second: &[u8]) -> Vec<String> {
        script(&format!(
            "printf %b '{}'; sleep {}; printf %b '{}'",
            escape(first),
            pause.as_secs_f64(),
            escape(second)
        ))
    }

    fn lines(&self, count: u32) -> Vec<String> {
        ["seq", "1", &count.to_string()].map(str::to_owned).to_vec()
    }

    fn exit(&self, code: u8) -> Vec<String> {
        script(&format!("exit {code}"))
    }

    fn copy(&self) -> Vec<String> {
        vec!["cat".to_owned()]
    }

    fn count(&self) -> Vec<String> {
        script("echo $(($(wc -c)))")
    }

    fn copy_raw(&self, bytes: usize) -> Vec<String> {
        script(&format!(
            "stty raw -echo; printf R; dd bs=1 count={bytes} 2>/dev/null"
        ))
    }

    fn terminal_size(&self) -> Vec<String> {
        script("stty -echo; printf R; read _; stty size")
    }

    fn print_env(&self, name: &str) -> Vec<String> {
        script(&format!("printf %s \"${name}\""))
    }

    fn missing(&self) -> Vec<String> {
        vec!["/no/such/program".to_owned()]
    }
}

fn script(text: &str) -> Vec<String> {
    ["sh", "-c", text].map(str::to_owned).to_vec()
}

/// For `printf %b`, which reads `\0` and three octal digits in every shell.
fn escape(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "\\0{byte:03o}");
        text
    })
}
