//! Faults: in force when the call returns, undone when the guard is dropped.

use std::fmt;
use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use crate::host::Host;
use crate::{Lab, LabError, network};

/// A fault in force. Dropping it undoes it.
#[must_use = "the fault is undone as soon as this is dropped"]
pub struct Fault {
    what: String,
    host: Arc<Host>,
    undo: Option<Undo>,
}

type Undo = Box<dyn FnOnce() -> Result<(), LabError> + Send>;

impl Fault {
    fn new(
        what: String,
        host: &Arc<Host>,
        undo: impl FnOnce() -> Result<(), LabError> + Send + 'static,
    ) -> Self {
        Self {
            what,
            host: Arc::clone(host),
            undo: Some(Box::new(undo)),
        }
    }

    /// Undoes the fault now, and waits until it is.
    ///
    /// # Errors
    /// When it cannot be undone.
    pub fn undo(mut self) -> Result<(), LabError> {
        self.heal()
    }

    fn heal(&mut self) -> Result<(), LabError> {
        match self.undo.take() {
            Some(undo) if !self.host.is_gone() => undo(),
            _ => Ok(()),
        }
    }
}

impl fmt::Debug for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fault")
            .field("what", &self.what)
            .finish_non_exhaustive()
    }
}

impl Drop for Fault {
    fn drop(&mut self) {
        if let Err(error) = self.heal() {
            #[expect(clippy::print_stderr, reason = "a drop has no other way to tell")]
            {
                eprintln!("cannot undo: {}: {error}", self.what);
            }
        }
    }
}

impl Lab {
    /// Hosts `a` and `b` no longer hear each other; all else goes on.
    ///
    /// # Errors
    /// When there is no such host, or the rules are refused.
    pub fn cut(&self, a: usize, b: usize) -> Result<Fault, LabError> {
        let there = self.cut_one_way(a, b)?;
        let back = self.cut_one_way(b, a)?;
        let host = self.shared_host(a)?;
        let what = format!("cut between host {a} and host {b}");
        Ok(Fault::new(what, &host, move || {
            there.undo().and(back.undo())
        }))
    }

    /// Nothing that host `from` sends reaches host `to`; the way back is open.
    ///
    /// # Errors
    /// When there is no such host, or the rules are refused.
    pub fn cut_one_way(&self, from: usize, to: usize) -> Result<Fault, LabError> {
        let sender = self.shared_host(from)?;
        let receiver = self.shared_host(to)?;
        let table = format!("longshore_cut_{}", NEXT.fetch_add(1, Ordering::Relaxed));
        network::drop_from(&receiver, &sender, &table)?;
        let what = format!("cut from host {from} to host {to}");
        let host = Arc::clone(&receiver);
        Ok(Fault::new(what, &receiver, move || {
            network::undrop(&host, &table)
        }))
    }

    /// Takes the host off the network: neither other hosts nor the root
    /// namespace hear it, and it notices nothing but silence.
    ///
    /// # Errors
    /// When there is no such host, or its link is refused.
    pub fn isolate(&self, index: usize) -> Result<Fault, LabError> {
        let host = self.shared_host(index)?;
        network::unplug(&host)?;
        let shared = Arc::clone(&host);
        Ok(Fault::new(
            format!("isolated host {index}"),
            &host,
            move || network::plug(&shared),
        ))
    }

    /// SIGKILL for the engine; undone by starting it again on the same data.
    ///
    /// # Errors
    /// When it does not run.
    pub fn kill_dockerd(&self, index: usize) -> Result<Fault, LabError> {
        let host = self.shared_host(index)?;
        host.take_dockerd()?.kill();
        let shared = Arc::clone(&host);
        Ok(Fault::new(
            format!("killed dockerd {index}"),
            &host,
            move || shared.revive_dockerd(),
        ))
    }

    /// Stops the engine in good order; undone by starting it again on the same data.
    ///
    /// # Errors
    /// When it does not run.
    pub fn stop_dockerd(&self, index: usize) -> Result<Fault, LabError> {
        let host = self.shared_host(index)?;
        host.take_dockerd()?.stop(STOP_PATIENCE);
        let shared = Arc::clone(&host);
        Ok(Fault::new(
            format!("stopped dockerd {index}"),
            &host,
            move || shared.revive_dockerd(),
        ))
    }

    /// Stops the engine in good order and starts it again on the same data;
    /// returns when it answers. Without live restore its containers are stopped.
    ///
    /// # Errors
    /// When it does not come back.
    pub fn restart_dockerd(&self, index: usize) -> Result<(), LabError> {
        self.stop_dockerd(index)?.undo()
    }

    /// SIGSTOP for the engine: connections are accepted and nothing answers.
    /// Undone by SIGCONT.
    ///
    /// # Errors
    /// When it does not run.
    pub fn freeze_dockerd(&self, index: usize) -> Result<Fault, LabError> {
        let host = self.shared_host(index)?;
        host.with_dockerd(crate::dockerd::Dockerd::freeze)?;
        let shared = Arc::clone(&host);
        Ok(Fault::new(
            format!("froze dockerd {index}"),
            &host,
            move || shared.with_dockerd(crate::dockerd::Dockerd::thaw),
        ))
    }

    /// Ends every process of the host at once, as a power cut would; undone by
    /// booting it again. Data on disk survive, those on a tmpfs don't, and
    /// processes started with [`Host::spawn`] go on (they are outside).
    ///
    /// # Errors
    /// When there is no such host.
    pub fn power_off(&self, index: usize) -> Result<Fault, LabError> {
        let host = self.shared_host(index)?;
        host.power_off();
        let shared = Arc::clone(&host);
        Ok(Fault::new(
            format!("powered off host {index}"),
            &host,
            move || {
                shared.boot()?;
                shared.revive_dockerd()
            },
        ))
    }

    /// Fills the engine's disk to the last byte; undone by freeing it. Only for
    /// hosts with [`with_data_mib`](crate::LabHostSpec::with_data_mib).
    ///
    /// # Errors
    /// When the host's data are on the machine's own disk.
    pub fn fill_disk(&self, index: usize) -> Result<Fault, LabError> {
        let host = self.shared_host(index)?;
        if host.spec().data_mib.is_none() {
            return Err(LabError::new(
                "only a host with data_mib can have a full disk",
            ));
        }
        let path = host.data_from_outside()?.join("filler");
        fill(&path)?;
        Ok(Fault::new(
            format!("filled the disk of host {index}"),
            &host,
            move || {
                std::fs::remove_file(&path).map_err(|e| LabError::io("cannot free the disk", e))
            },
        ))
    }
}

fn fill(path: &std::path::Path) -> Result<(), LabError> {
    let failed = |e| LabError::io(format!("cannot write {}", path.display()), e);
    let mut file = std::fs::File::create(path).map_err(failed)?;
    let block = vec![0u8; 1 << 20];
    // Whole blocks first, then what still fits.
    for size in [block.len(), 4096, 1] {
        loop {
            match file.write(&block[..size]) {
                Ok(_) => {}
                Err(e) if e.kind() == std::io::ErrorKind::StorageFull => break,
                Err(e) => return Err(failed(e)),
            }
        }
    }
    Ok(())
}

/// Names the tables of cuts apart.
static NEXT: AtomicU32 = AtomicU32::new(1);

/// A container that ignores SIGTERM costs an engine ten seconds.
const STOP_PATIENCE: Duration = Duration::from_secs(30);
