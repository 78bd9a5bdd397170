//! A way to the platform's socket that can be cut.

use std::{
    io,
    net::Shutdown,
    os::unix::net::{UnixListener, UnixStream},
    path::{Path, PathBuf},
    process::Command,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use crate::{server::Server, terminal::until};

pub struct Relay {
    folder: tempfile::TempDir,
    shared: Arc<Shared>,
}

struct Shared {
    to: PathBuf,
    refuses: AtomicBool,
    open: Mutex<Vec<[UnixStream; 2]>>,
}

impl Relay {
    pub fn to(socket: impl AsRef<Path>) -> Self {
        let folder = tempfile::tempdir().expect("there is a folder");
        let listener = UnixListener::bind(folder.path().join("relay.sock")).expect("it listens");
        let shared = Arc::new(Shared {
            to: socket.as_ref().to_owned(),
            refuses: AtomicBool::new(false),
            open: Mutex::default(),
        });
        let serving = Arc::clone(&shared);
        // Ends with the process: nobody closes a listener that somebody waits at.
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if !serving.refuses.load(Ordering::SeqCst) {
                    let _ = serving.carry(stream);
                }
            }
        });
        Self { folder, shared }
    }

    /// The program, calling through here.
    pub fn platform(&self, server: &Server, arguments: &[&str]) -> Command {
        let mut command = server.platform(arguments);
        command.env("DOCKER_HOST", format!("unix://{}", self.socket().display()));
        command
    }

    /// Cuts all connections; says how many there were.
    pub fn cut(&self) -> usize {
        let open = std::mem::take(&mut *self.shared.open.lock().unwrap());
        for stream in open.iter().flatten() {
            let _ = stream.shutdown(Shutdown::Both);
        }
        open.len()
    }

    #[track_caller]
    pub fn cut_when_connected(&self) {
        until(|| self.cut() > 0, || "nobody connects".to_owned());
    }

    /// Cuts all connections, and takes none any more.
    pub fn refuse(&self) {
        self.shared.refuses.store(true, Ordering::SeqCst);
        self.cut();
    }

    pub fn take_again(&self) {
        self.shared.refuses.store(false, Ordering::SeqCst);
    }

    pub fn socket(&self) -> PathBuf {
        self.folder.path().join("relay.sock")
    }
}

impl Shared {
    fn carry(&self, near: UnixStream) -> io::Result<()> {
        let far = UnixStream::connect(&self.to)?;
        for (mut from, mut to) in [
            (near.try_clone()?, far.try_clone()?),
            (far.try_clone()?, near.try_clone()?),
        ] {
            thread::spawn(move || {
                let _ = io::copy(&mut from, &mut to);
                let _ = to.shutdown(Shutdown::Write);
            });
        }
        self.open.lock().unwrap().push([near, far]);
        Ok(())
    }
}
