//! Whether a lab can run here, and how a suite says that it was skipped.

use std::io::Write as _;
use std::path::PathBuf;

use crate::tool;

/// Whether a lab can run on this machine.
///
/// # Errors
/// With the reason, in a form that follows "needs": for example `root`.
pub fn available() -> Result<(), String> {
    if !rustix::process::geteuid().is_root() {
        return Err("needs root".to_owned());
    }
    let missing = missing_packages();
    if !missing.is_empty() {
        return Err(format!("needs Debian's {}", missing.join(", ")));
    }
    tool::run(tool::command("unshare").args(["--net", "--mount", "--pid", "--fork", "true"]))
        .map(drop)
        .map_err(|e| format!("needs the right to create namespaces: {e}"))
}

/// The Debian packages that a lab needs and whose programs are not here.
#[must_use]
pub fn missing_packages() -> Vec<&'static str> {
    let missing = PROGRAMS
        .iter()
        .filter(|(program, _)| tool::find(program).is_none());
    let mut packages: Vec<&str> = missing.map(|(_, package)| *package).collect();
    packages.dedup();
    packages
}

/// Where `program` is, also when `/usr/sbin` is not in `PATH`.
#[must_use]
pub fn find_program(program: &str) -> Option<PathBuf> {
    tool::find(program)
}

/// Says, where `cargo xtask test` counts it, that `suite` did not run.
///
/// The line goes to the real stdout, past the test runner's capture: a skipped
/// suite that looks like a passed one is worth less than none.
pub fn skip(suite: &str, reason: &str) {
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "\nSKIPPED {suite}: {reason}");
    let _ = out.flush();
}

/// Program and the Debian package that brings it.
const PROGRAMS: &[(&str, &str)] = &[
    ("dockerd", "docker.io"),
    ("docker", "docker.io"),
    ("containerd", "containerd"),
    ("iptables", "iptables"),
    ("nft", "nftables"),
    ("ip", "iproute2"),
    ("busybox", "busybox-static"),
    ("nsenter", "util-linux"),
    ("unshare", "util-linux"),
    ("setsid", "util-linux"),
];
