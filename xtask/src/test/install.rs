//! What the suites need from Debian.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use super::{consul, counts::Counts};
use crate::cargo;

/// Names what is missing and, as root, installs it. Without root, each suite
/// counts itself as skipped when it misses something.
pub(crate) fn run(no_install: bool) -> Result<Counts, String> {
    let missing = missing();
    let no_consul = longshore_lab::StoreKind::Consul.available().is_err();
    if missing.is_empty() && !no_consul {
        println!("nothing is missing");
        return Ok(Counts::default());
    }
    let consul_too = no_consul.then_some("consul (of Debian 11, unpacked into a cache folder)");
    let named: Vec<_> = missing.iter().copied().chain(consul_too).collect();
    println!("missing: {}", named.join(" "));
    if no_install || !rustix::process::geteuid().is_root() {
        if !missing.is_empty() {
            println!(
                "as root: apt-get install --no-install-recommends {}",
                missing.join(" ")
            );
        }
        return Ok(Counts::skip("install", "needs root (and no --no-install)"));
    }
    if longshore_lab::find_program("apt-get").is_none() {
        return Ok(Counts::skip("install", "needs apt-get: this is no Debian"));
    }
    let counts = match no_consul {
        true => consul::fetch().map_or_else(
            // Without it two suites are skipped, which is no reason to run none.
            |error| Counts::skip("install consul", &error),
            |()| Counts::check(true),
        ),
        false => Counts::default(),
    };
    if missing.is_empty() {
        return Ok(counts);
    }
    let _policy = ServicePolicy::deny();
    apt(&["update"])?;
    let mut arguments = vec!["install", "--yes", "--no-install-recommends"];
    arguments.extend(missing);
    apt(&arguments)?;
    let left = self::missing();
    if left.is_empty() {
        return Ok(counts + Counts::check(true));
    }
    Err(format!(
        "still missing after the installation: {}",
        left.join(" ")
    ))
}

fn missing() -> Vec<&'static str> {
    let mut packages = longshore_lab::missing_packages();
    let absent = |program: &str| longshore_lab::find_program(program).is_none();
    packages.extend(
        PROGRAMS
            .iter()
            .filter(|(name, _)| absent(name))
            .map(|(_, package)| *package),
    );
    if !Path::new(ZOOKEEPER).is_file() {
        packages.push("zookeeper");
    }
    for (file, package) in FONTS {
        if !Path::new(file).is_file() {
            packages.push(package);
        }
    }
    packages
}

fn apt(arguments: &[&str]) -> Result<(), String> {
    let mut command = Command::new("apt-get");
    command
        .args(arguments)
        .env("DEBIAN_FRONTEND", "noninteractive");
    command.stdin(std::process::Stdio::null());
    let status = cargo::run(&mut command)?;
    if status.success() {
        return Ok(());
    }
    Err(format!(
        "apt-get {} failed with {status}",
        arguments.join(" ")
    ))
}

/// Keeps packages from starting their services while it lives: the lab starts
/// its own engines. A policy that is there already stays.
struct ServicePolicy {
    ours: bool,
}

impl ServicePolicy {
    fn deny() -> Self {
        let path = Path::new(POLICY);
        if path.exists() {
            return Self { ours: false };
        }
        let written = std::fs::write(path, "#!/bin/sh\nexit 101\n");
        let executable = std::fs::Permissions::from_mode(0o755);
        let ours = written
            .and_then(|()| std::fs::set_permissions(path, executable))
            .is_ok();
        Self { ours }
    }
}

impl Drop for ServicePolicy {
    fn drop(&mut self) {
        if self.ours {
            let _ = std::fs::remove_file(POLICY);
        }
    }
}

const POLICY: &str = "/usr/sbin/policy-rc.d";

/// Programs that suites need beyond the lab's own, and the packages with them.
const PROGRAMS: &[(&str, &str)] = &[
    ("asciinema", "asciinema"),
    ("docker-compose", "docker-compose"),
    ("etcd", "etcd-server"),
    ("java", "default-jre-headless"),
    ("chromium", "chromium"),
    ("npm", "npm"),
];

/// Fonts for what the browser's pictures show.
const FONTS: &[(&str, &str)] = &[
    (
        "/usr/share/fonts/truetype/dejavu/DejaVuSansMono.ttf",
        "fonts-dejavu-core",
    ),
    (
        "/usr/share/fonts/truetype/noto/NotoColorEmoji.ttf",
        "fonts-noto-color-emoji",
    ),
    (
        "/usr/share/fonts/truetype/wqy/wqy-zenhei.ttc",
        "fonts-wqy-zenhei",
    ),
];

/// ZooKeeper has no program of its own.
const ZOOKEEPER: &str = "/usr/share/java/zookeeper.jar";
