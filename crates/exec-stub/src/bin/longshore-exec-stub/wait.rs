//! A stub that is there before its session: it waits to be told what to become.

use std::{
    ffi::{OsStr, OsString},
    fs,
    io::ErrorKind,
    os::unix::{fs::MetadataExt, process::CommandExt},
    path::{Path, PathBuf},
    process::{Command, ExitCode},
    sync::atomic::Ordering,
    time::{Duration, Instant, SystemTime},
};

use longshore_exec_stub::{FromStub, Opening, SILENCE, ToStub, VERSION};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    stdio::{stdin, stdout},
};

use crate::{
    child,
    options::Options,
    signals,
    user::{self, User},
    wire::Wire,
};

/// What the engine had to know when it started this program for somebody, and what may have changed
/// since: who that is.
#[derive(Debug)]
struct Users {
    seen: Vec<Option<(u64, u64, i64, i64)>>,
    /// They were written so shortly before this look that the engine may have read them before.
    just_written: bool,
}

/// Waits. It ends with its input, when it is told to, when nothing is said for long, and as any
/// program does when it is signalled: the container may be about to end. Told to be a
/// session, it starts itself anew as that: what the session is then follows from what it was told, as
/// if the engine had started it.
pub(crate) fn run() -> ExitCode {
    signals::default_at_exec();
    let signalled = signals::asked_to_end();
    let users = Users::look();
    // A folder that somebody is in can't be unmounted.
    let folder = std::env::current_dir().ok();
    let _ = std::env::set_current_dir("/");
    let Ok(mut wire) = Wire::open() else {
        return ExitCode::from(125);
    };
    let mut heard = Instant::now();
    wire.say(&FromStub::Hello(VERSION));
    wire.say(&FromStub::Waiting);
    let is_over = |wire: &Wire, since: Instant| {
        wire.closed || since.elapsed() >= SILENCE || signalled.load(Ordering::Relaxed)
    };
    while !is_over(&wire, heard) {
        listen(&wire);
        let before = heard;
        wire.send();
        if wire.receive() {
            heard = Instant::now();
        }
        while let Some(message) = wire.next() {
            match message {
                ToStub::Beat => wire.say(&FromStub::Waiting),
                ToStub::Open(opening) => match missing(&opening) {
                    Some(failed) => wire.say(&failed),
                    None => {
                        // Whoever said it may have left since, or has given up what it said while
                        // this stood still with its container.
                        wire.receive();
                        if is_over(&wire, before) {
                            return ExitCode::SUCCESS;
                        }
                        let why = become_session(&opening, &users, folder.as_deref());
                        wire.say(&FromStub::Declined(why));
                        return last_words(wire);
                    }
                },
                ToStub::End => return ExitCode::SUCCESS,
                // Meant for a session, which this is not.
                _ => return ExitCode::from(125),
            }
        }
    }
    ExitCode::SUCCESS
}

/// Returns only with the reason why not, having started nothing.
fn become_session(opening: &Opening, users: &Users, folder: Option<&Path>) -> String {
    if users.have_changed() {
        return "the container's users have changed".to_owned();
    }
    let folder = match opening.directory.as_str() {
        "" => folder.map(PathBuf::from),
        named => Some(PathBuf::from(named)),
    };
    let Some(folder) = folder else {
        return "the folder that this was started in is not there".to_owned();
    };
    if let Err(error) = std::env::set_current_dir(&folder) {
        return format!("cannot go to {}: {error}", folder.display());
    }
    let mut arguments = std::env::args_os();
    let mut command = Command::new("/proc/self/exe");
    command.arg0(arguments.next().unwrap_or_default());
    command.args(&opening.arguments);
    for pair in &opening.environment {
        match pair.split_once('=') {
            Some((name, value)) => command.env(name, value),
            None => return format!("{pair:?} is no NAME=value"),
        };
    }
    format!("cannot start anew: {}", command.exec())
}

/// What a session would say if its program is surely not there; nothing is used up by that. A login
/// tries several shells.
fn missing(opening: &Opening) -> Option<FromStub> {
    let (mode, rest) = opening.arguments.split_first()?;
    let words = rest.iter().map(OsString::from);
    let options = Options::parse(words).ok().filter(|_| mode == "session")?;
    // Whom it is to run as comes first.
    let known = |user: &String| user::is_root() && User::find(user).is_ok();
    if !options.user.as_ref().is_none_or(known) {
        return None;
    }
    let program = options.command.first()?;
    let given = opening.environment.iter().rev();
    let given = given.filter_map(|pair| pair.strip_prefix("PATH=")).next();
    let path = given.map_or_else(|| std::env::var_os("PATH"), |path| Some(path.into()));
    let path = path.unwrap_or_else(|| child::PLACES.into());
    if !is_surely_missing(program, &path) {
        return None;
    }
    let failure = child::refusal(program, &ErrorKind::NotFound.into());
    Some(FromStub::Failed {
        code: failure.code,
        reason: failure.reason,
    })
}

/// Looked for where `execvp` does. What depends on the folder is left to the session.
fn is_surely_missing(program: &OsStr, path: &OsStr) -> bool {
    let is_missing = |file: &Path| {
        let found = file.is_absolute().then(|| fs::metadata(file));
        found.is_some_and(|found| found.is_err_and(|error| error.kind() == ErrorKind::NotFound))
    };
    if program.as_encoded_bytes().contains(&b'/') {
        return is_missing(Path::new(program));
    }
    !program.is_empty() && std::env::split_paths(path).all(|place| is_missing(&place.join(program)))
}

/// Until something can be read or written, or for a second.
fn listen(wire: &Wire) {
    let mut fds = vec![PollFd::from_borrowed_fd(stdin(), PollFlags::IN)];
    if wire.queued() > 0 {
        fds.push(PollFd::from_borrowed_fd(stdout(), PollFlags::OUT));
    }
    let _ = poll(&mut fds, Timespec::try_from(SECOND).ok().as_ref());
}

fn last_words(mut wire: Wire) -> ExitCode {
    let since = Instant::now();
    while wire.queued() > 0 && !wire.closed && since.elapsed() < SILENCE {
        listen(&wire);
        wire.send();
        wire.receive();
    }
    ExitCode::from(125)
}

impl Users {
    fn look() -> Self {
        let files = ["/etc/passwd", "/etc/group"].map(|file| fs::metadata(file).ok());
        let now = SystemTime::now();
        let seen = files.iter().map(|found| {
            let found = found.as_ref()?;
            let (changed, fraction) = (found.ctime(), found.ctime_nsec());
            Some((found.dev(), found.ino(), changed, fraction))
        });
        let mut written = files
            .iter()
            .flatten()
            .filter_map(|found| found.modified().ok());
        Self {
            seen: seen.collect(),
            just_written: written.any(|at| is_just(at, now)),
        }
    }

    fn have_changed(&self) -> bool {
        self.just_written || Self::look().seen != self.seen
    }
}

/// Whether this was at about this time. One far ahead says nothing but that a clock was wrong.
fn is_just(then: SystemTime, now: SystemTime) -> bool {
    let apart = match now.duration_since(then) {
        Ok(ago) => ago,
        Err(ahead) => ahead.duration(),
    };
    apart < LONGEST_START
}

/// How long an engine may take from looking a user up to having started this.
const LONGEST_START: Duration = Duration::from_secs(5);
const SECOND: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(program: &str, path: &str, missing: bool) {
        assert_eq!(is_surely_missing(program.as_ref(), path.as_ref()), missing);
    }

    #[test]
    fn users_that_were_just_written_may_be_others_than_the_engine_read() {
        let now = SystemTime::now();
        let apart = Duration::from_millis;
        assert!(is_just(now - apart(4999), now) && is_just(now + apart(4999), now));
        assert!(!is_just(now - apart(5000), now) && !is_just(now + apart(5000), now));
        let mut users = Users::look();
        assert!(!users.have_changed());
        users.just_written = true;
        assert!(users.have_changed());
        users = Users::look();
        users.seen[0] = None;
        assert!(users.have_changed());
    }

    #[test]
    fn only_what_is_nowhere_is_surely_missing() {
        check("no-such-program", "/bin:/usr/bin", true);
        check("sh", "/nowhere:/bin", false);
        check("/bin/sh", "", false);
        check("/no/such/program", "/bin", true);
        // A folder on the way that is a file: another error than that there is nothing.
        check("/etc/passwd/sh", "/bin", false);
        // It depends on the folder.
        check("./no-such-program", "/bin", false);
        check("no-such-program", "/bin::", false);
        check("", "/bin", false);
    }
}
