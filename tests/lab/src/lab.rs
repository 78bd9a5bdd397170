//! The lab itself.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::host::Host;
use crate::names::LabId;
use crate::teardown::{self, Watchdog};
use crate::{LabBuilder, LabError, LinkSchedule, TcpShim, UdpShim, builder};

/// A number of Docker hosts in network namespaces, gone when dropped.
///
/// Faults are in the methods below ([`Lab::cut`], [`Lab::kill_dockerd`] …);
/// hosts are named by their index.
#[derive(Debug)]
pub struct Lab {
    id: LabId,
    hosts: Vec<Arc<Host>>,
    gone: Arc<AtomicBool>,
    watchdog: Option<Watchdog>,
}

impl Lab {
    /// Describes a lab; ends with [`LabBuilder::start`].
    #[must_use]
    pub fn builder() -> LabBuilder {
        LabBuilder::default()
    }

    /// Removes what labs of dead processes left behind; returns their numbers.
    /// Detached labs are left alone.
    ///
    /// # Errors
    /// When something resists.
    pub fn sweep() -> Result<Vec<u8>, LabError> {
        let _lock = builder::lock()?;
        teardown::sweep()
    }

    pub(crate) fn assemble(
        id: LabId,
        hosts: Vec<Arc<Host>>,
        gone: Arc<AtomicBool>,
        watchdog: Watchdog,
    ) -> Self {
        Self {
            id,
            hosts,
            gone,
            watchdog: Some(watchdog),
        }
    }

    /// The lab's number on this machine, also the third byte of its subnet.
    #[must_use]
    pub fn id(&self) -> u8 {
        self.id.0
    }

    /// The host with this index, from 0.
    ///
    /// # Panics
    /// When there is no such host.
    #[must_use]
    #[track_caller]
    pub fn host(&self, index: usize) -> &Host {
        &self.hosts[index]
    }

    /// All hosts in order.
    pub fn hosts(&self) -> impl ExactSizeIterator<Item = &Host> {
        self.hosts.iter().map(AsRef::as_ref)
    }

    /// The root namespace's address on the lab's bridge: where hosts reach a
    /// server that the test itself runs.
    #[must_use]
    pub fn gateway(&self) -> Ipv4Addr {
        self.id.gateway()
    }

    /// A directory for files that shall vanish with the lab.
    #[must_use]
    pub fn directory(&self) -> PathBuf {
        self.id.directory()
    }

    /// Makes the same busybox image on every engine.
    ///
    /// # Errors
    /// As [`Host::import`].
    pub fn import_busybox(&self, tag: &str) -> Result<(), LabError> {
        let rootfs = crate::Rootfs::busybox()?;
        self.hosts()
            .try_for_each(|host| host.import(tag, &rootfs, "sh"))
    }

    /// Makes the same bash image on every engine.
    ///
    /// # Errors
    /// As [`Host::import`].
    pub fn import_bash(&self, tag: &str) -> Result<(), LabError> {
        let rootfs = crate::Rootfs::bash()?;
        self.hosts()
            .try_for_each(|host| host.import(tag, &rootfs, "bash"))
    }

    /// A slow or unreliable TCP link to `target`: hosts dial the shim's address
    /// on the lab's bridge instead.
    ///
    /// # Errors
    /// When it cannot listen.
    pub fn tcp_shim(&self, target: SocketAddr, link: LinkSchedule) -> Result<TcpShim, LabError> {
        TcpShim::start(IpAddr::V4(self.gateway()), target, link)
    }

    /// A slow or lossy UDP link to `target`.
    ///
    /// # Errors
    /// When it cannot listen.
    pub fn udp_shim(&self, target: SocketAddr, link: LinkSchedule) -> Result<UdpShim, LabError> {
        UdpShim::start(IpAddr::V4(self.gateway()), target, link)
    }

    /// Takes the lab down and says what is left, if anything; dropping it only
    /// prints that.
    ///
    /// # Errors
    /// When something is left.
    pub fn stop(mut self) -> Result<(), LabError> {
        self.take_down()
    }

    pub(crate) fn shared_host(&self, index: usize) -> Result<Arc<Host>, LabError> {
        let host = self.hosts.get(index).cloned();
        host.ok_or_else(|| LabError::new(format!("the lab has no host {index}")))
    }

    /// Lets the lab go on without this process.
    pub(crate) fn detach(&self) {
        self.gone.store(true, Ordering::Release);
    }

    fn take_down(&mut self) -> Result<(), LabError> {
        let Some(watchdog) = self.watchdog.take() else {
            return Ok(());
        };
        if self.gone.swap(true, Ordering::AcqRel) {
            watchdog.dismiss();
            return Ok(());
        }
        self.hosts().for_each(Host::power_off);
        watchdog.finish();
        // Should the watchdog have been killed, this does its work.
        teardown::verify(self.id).or_else(|_| teardown::run(self.id))
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        if let Err(error) = self.take_down() {
            #[expect(clippy::print_stderr, reason = "a drop has no other way to tell")]
            {
                eprintln!("{error}");
            }
        }
    }
}
