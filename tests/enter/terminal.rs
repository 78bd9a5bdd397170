//! A program on a pseudo-terminal.

use std::{
    io::{Read, Write},
    process::{Child, Command},
    sync::{
        Arc, Condvar, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use pty_process::{Size, blocking};
use rustix::{
    process::{Pid, Signal, kill_process},
    termios::{LocalModes, tcgetattr},
};

pub struct Terminal {
    pty: Arc<blocking::Pty>,
    child: Mutex<Child>,
    seen: Arc<Seen>,
}

#[derive(Default)]
struct Seen {
    bytes: Mutex<(Vec<u8>, usize)>,
    more: Condvar,
    /// Nobody has the other side any more.
    ended: AtomicBool,
}

impl Terminal {
    /// 24 rows of 80 columns.
    pub fn open(command: Command) -> Self {
        let (pty, pts) = blocking::open().expect("there is a terminal");
        pty.resize(Size::new(24, 80)).expect("it has a size");
        let mut start = blocking::Command::new(command.get_program()).args(command.get_args());
        for (name, value) in command.get_envs() {
            start = start.env(name, value.unwrap_or_default());
        }
        let child = start
            .env("TERM", "xterm-test")
            .spawn(pts)
            .expect("the program starts");
        let (pty, seen) = (Arc::new(pty), Arc::new(Seen::default()));
        let (from, to) = (Arc::clone(&pty), Arc::clone(&seen));
        thread::spawn(move || {
            let mut buffer = [0; 4096];
            // It fails when nobody has the other side any more.
            while let Ok(count @ 1..) = (&*from).read(&mut buffer) {
                to.bytes
                    .lock()
                    .unwrap()
                    .0
                    .extend_from_slice(&buffer[..count]);
                to.more.notify_all();
            }
            to.ended.store(true, Ordering::Release);
        });
        Self {
            pty,
            child: Mutex::new(child),
            seen,
        }
    }

    pub fn type_in(&self, text: &str) {
        (&*self.pty)
            .write_all(text.as_bytes())
            .expect("the terminal takes it");
    }

    pub fn resize(&self, rows: u16, columns: u16) {
        self.pty
            .resize(Size::new(rows, columns))
            .expect("it has a size");
    }

    /// Waits for this text behind what was expected before.
    #[track_caller]
    pub fn expect(&self, text: &str) {
        assert!(
            self.comes(text, LIMIT),
            "{text:?} did not come, but {:?}",
            self.seen()
        );
    }

    /// Types it again and again until this text comes: around a change nobody says when it is there.
    #[track_caller]
    pub fn repeat(&self, typed: &str, text: &str) {
        let end = Instant::now() + LIMIT;
        while !self.comes(text, Duration::from_millis(300)) {
            assert!(
                Instant::now() < end,
                "{text:?} did not come, but {:?}",
                self.seen()
            );
            self.type_in(typed);
        }
    }

    fn comes(&self, text: &str, limit: Duration) -> bool {
        let end = Instant::now() + limit;
        let mut bytes = self.seen.bytes.lock().unwrap();
        loop {
            let from = bytes.1;
            let found = bytes.0[from..]
                .windows(text.len())
                .position(|part| part == text.as_bytes());
            if let Some(at) = found {
                bytes.1 = from + at + text.len();
                return true;
            }
            let Some(left) = end.checked_duration_since(Instant::now()) else {
                return false;
            };
            bytes = self.seen.more.wait_timeout(bytes, left).unwrap().0;
        }
    }

    pub fn seen(&self) -> String {
        String::from_utf8_lossy(&self.seen.bytes.lock().unwrap().0).into_owned()
    }

    /// Whether the program has the terminal in raw mode. The master's attributes are the slave's.
    pub fn is_raw(&self) -> bool {
        let modes = tcgetattr(&*self.pty).expect("it is a terminal").local_modes;
        !modes.intersects(LocalModes::ICANON | LocalModes::ECHO | LocalModes::ISIG)
    }

    #[track_caller]
    pub fn wait_until_raw(&self) {
        until(
            || self.is_raw(),
            || format!("no raw mode: {:?}", self.seen()),
        );
    }

    pub fn send(&self, signal: Signal) {
        let id = self.child.lock().unwrap().id();
        let pid = Pid::from_raw(id.try_into().unwrap()).unwrap();
        kill_process(pid, signal).expect("it is there");
    }

    /// Waits for the program's end.
    #[track_caller]
    pub fn exit_code(&self) -> i32 {
        let mut child = self.child.lock().unwrap();
        let mut code = None;
        until(
            || {
                code = child.try_wait().expect("it is ours");
                code.is_some()
            },
            || format!("it goes on: {:?}", self.seen()),
        );
        let status = code.expect("it was waited for");
        // The reader may be behind; somebody else may have the terminal still.
        let end = Instant::now() + Duration::from_secs(2);
        while !self.seen.ended.load(Ordering::Acquire) && Instant::now() < end {
            thread::sleep(Duration::from_millis(5));
        }
        status
            .code()
            .unwrap_or_else(|| panic!("{status}: {:?}", self.seen()))
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let mut child = self
            .child
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        if !matches!(child.try_wait(), Ok(Some(_))) {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Waits until something holds.
#[track_caller]
pub fn until(mut holds: impl FnMut() -> bool, what: impl Fn() -> String) {
    let end = Instant::now() + LIMIT;
    while !holds() {
        assert!(Instant::now() < end, "{}", what());
        thread::sleep(Duration::from_millis(20));
    }
}

/// On a busy machine nothing takes longer.
const LIMIT: Duration = Duration::from_secs(60);
