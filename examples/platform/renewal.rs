//! Certificates that are renewed while the platform runs: their files are read again when they change
//! and on SIGHUP.

mod age;

use std::{path::Path, sync::Arc, time::Duration};

use age::Age;
use longshore::{Clock, Result, core::ClockExt, tunnel::pki};
use tokio::signal::unix::{SignalKind, signal};

use crate::check::TlsFiles;

/// What takes new certificates into use.
type Use = Box<dyn Fn() -> Result<()> + Send + Sync>;

/// The TLS files of this process, and what they are used for.
pub struct Renewal {
    files: TlsFiles,
    /// What the files held when they were last looked at.
    known: Vec<Option<Vec<u8>>>,
    age: Age,
    uses: Vec<Use>,
}

impl Renewal {
    /// To be made before the files are used, so that no change is missed.
    ///
    /// # Errors
    /// The certificate and its key can't be used.
    pub fn of(files: TlsFiles) -> Result<Self> {
        let known = contents(&files);
        let age = Age::of(&identity(&files)?);
        Ok(Self {
            files,
            known,
            age,
            uses: Vec::new(),
        })
    }

    /// Adds something that takes new certificates.
    pub fn add(&mut self, take: impl Fn() -> Result<()> + Send + Sync + 'static) {
        self.uses.push(Box::new(take));
    }

    /// Looks after the files for ever.
    pub async fn run(mut self, clock: Arc<dyn Clock>) {
        let Ok(mut hung_up) = signal(SignalKind::hangup()) else {
            return;
        };
        loop {
            if let Some(warning) = self.age.warning(clock.now()) {
                let cert = &self.files.cert;
                tracing::warn!("the certificate {cert} {warning}");
            }
            let asked = tokio::select! {
                () = clock.sleep(INTERVAL) => false,
                _ = hung_up.recv() => true,
            };
            match self.look(asked) {
                None => {}
                Some(Ok(())) => tracing::info!(
                    "the certificate {} was read again: in use for new connections, valid until {}",
                    self.files.cert,
                    self.age.expires()
                ),
                Some(Err(error)) => tracing::error!(
                    "the certificate files can't be used, and those read before stay in use until \
                     {}: {}",
                    self.age.expires(),
                    error.chain()
                ),
            }
        }
    }

    /// Takes the files into use if they have changed, or if that was asked for. `None`: nothing was
    /// done.
    fn look(&mut self, asked: bool) -> Option<Result<()>> {
        let found = contents(&self.files);
        if !asked && found == self.known {
            return None;
        }
        self.known = found;
        Some(self.take())
    }

    fn take(&mut self) -> Result<()> {
        // All of it first, so that a bad file changes nothing.
        let identity = identity(&self.files)?;
        if let Some(ca) = &self.files.ca {
            pki::TlsTrust::load(Path::new(ca))?;
        }
        for take in &self.uses {
            take()?;
        }
        self.age = Age::of(&identity);
        Ok(())
    }
}

fn identity(files: &TlsFiles) -> Result<pki::TlsIdentity> {
    pki::TlsIdentity::load(Path::new(&files.cert), Path::new(&files.key))
}

/// A file that can't be read has no contents; taking it into use will say why.
fn contents(files: &TlsFiles) -> Vec<Option<Vec<u8>>> {
    [Some(&files.cert), Some(&files.key), files.ca.as_ref()]
        .map(|file| std::fs::read(file?).ok())
        .into()
}

/// How often the files are looked at.
const INTERVAL: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use longshore::core::{NodeId, OsRandom, SystemClock};

    use super::*;

    fn issue(folder: &Path, authority: &pki::Authority) -> TlsFiles {
        let profile = pki::Profile::new(NodeId::new("n").unwrap());
        let now = SystemClock::new().now();
        let identity = authority.issue(&profile, now, &OsRandom).unwrap();
        let file = |name: &str| folder.join(name).display().to_string();
        let files = TlsFiles {
            ca: Some(file("ca.pem")),
            cert: file("cert.pem"),
            key: file("key.pem"),
            verify: true,
        };
        identity
            .save(Path::new(&files.cert), Path::new(&files.key))
            .unwrap();
        std::fs::write(file("ca.pem"), authority.certificate_pem()).unwrap();
        files
    }

    #[test]
    fn files_that_changed_are_taken_into_use_and_bad_ones_are_not() {
        let folder = tempfile::tempdir().unwrap();
        let now = SystemClock::new().now();
        let authority = pki::Authority::generate("x", now, &OsRandom).unwrap();
        let files = issue(folder.path(), &authority);
        let mut renewal = Renewal::of(files.clone()).unwrap();
        let taken = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&taken);
        renewal.add(move || {
            count.fetch_add(1, Ordering::Relaxed);
            Ok(())
        });
        let taken = || taken.load(Ordering::Relaxed);

        assert!(renewal.look(false).is_none());
        issue(folder.path(), &authority);
        assert!(renewal.look(false).unwrap().is_ok());
        assert_eq!(taken(), 1);
        assert!(renewal.look(false).is_none());
        // SIGHUP asks for it whether they changed or not.
        assert!(renewal.look(true).unwrap().is_ok());
        assert_eq!(taken(), 2);

        std::fs::write(&files.key, "no key").unwrap();
        let error = renewal.look(false).unwrap().unwrap_err();
        assert_eq!(
            error.chain(),
            format!(
                "Couldn't load X509 key pair ({}, {}): it holds no private key in PEM form. Key \
                 encrypted?",
                files.cert, files.key
            )
        );
        assert_eq!(taken(), 2);
        assert!(renewal.look(false).is_none(), "said once");
    }
}
