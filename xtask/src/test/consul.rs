//! Consul, which Debian 12 lacks: the package of Debian 11, unpacked into a cache folder.
//!
//! apt fetches and verifies it, with a list of sources and a state of its own, so that nothing of
//! the machine's is touched. Where from is the machine's own matter: its mirror of Debian.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use crate::cargo;

/// Fetches and unpacks it.
///
/// # Errors
/// With the reason: no mirror of Debian is known here, or apt failed.
pub(super) fn fetch() -> Result<(), String> {
    let cache = longshore_lab::store_cache();
    let state = cache.join("apt");
    let source = machine_source().ok_or("needs a Debian mirror in apt's sources")?;
    let failed = |error: std::io::Error| format!("cannot write {}: {error}", state.display());
    for part in ["lists/partial", "cache/archives/partial"] {
        std::fs::create_dir_all(state.join(part)).map_err(failed)?;
    }
    let list = state.join("sources.list");
    std::fs::write(&list, source.line()).map_err(failed)?;
    let options = apt_options(&state, &list);
    apt_get(&options, &["update"], &state)?;
    // The package alone: it is one program, and its dependencies are not of this release.
    apt_get(&options, &["download", "consul"], &state)?;
    let package = package_in(&state).ok_or("apt fetched no package of consul")?;
    let mut unpack = Command::new("dpkg");
    unpack.arg("-x").arg(&package).arg(cache.join("consul"));
    match cargo::run(&mut unpack)?.success() {
        true => Ok(()),
        false => Err(format!("cannot unpack {}", package.display())),
    }
}

/// apt with our options, in a folder that it downloads to.
fn apt_get(options: &[String], arguments: &[&str], folder: &Path) -> Result<(), String> {
    let mut command = Command::new("apt-get");
    for option in options {
        command.args(["-o", option]);
    }
    command.args(arguments).current_dir(folder);
    command.env("DEBIAN_FRONTEND", "noninteractive");
    match cargo::run(&mut command)?.success() {
        true => Ok(()),
        false => Err(format!("apt-get {} failed", arguments.join(" "))),
    }
}

fn apt_options(state: &Path, list: &Path) -> Vec<String> {
    vec![
        format!("Dir::Etc::SourceList={}", list.display()),
        "Dir::Etc::SourceParts=/dev/null".to_owned(),
        format!("Dir::State::Lists={}", state.join("lists").display()),
        format!("Dir::Cache={}", state.join("cache").display()),
        // Otherwise apt gives up root for the download, and may not write to our folder.
        "APT::Sandbox::User=root".to_owned(),
    ]
}

fn package_in(state: &Path) -> Option<PathBuf> {
    let mut packages = std::fs::read_dir(state)
        .ok()?
        .flatten()
        .map(|entry| entry.path());
    packages.find(|path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.starts_with("consul_") && name.ends_with(".deb")
    })
}

/// A mirror of Debian and the key that signs it.
#[derive(Debug, PartialEq, Eq)]
struct Source {
    mirror: String,
    signed_by: Option<String>,
}

impl Source {
    fn line(&self) -> String {
        let signed = self.signed_by.as_ref();
        let signed = signed.map_or(String::new(), |key| format!("[signed-by={key}] "));
        format!("deb {signed}{} bullseye main\n", self.mirror)
    }
}

/// From apt's own lists, in either of their forms.
fn machine_source() -> Option<Source> {
    let mut paths = vec![PathBuf::from("/etc/apt/sources.list")];
    let parts = std::fs::read_dir("/etc/apt/sources.list.d");
    paths.extend(
        parts
            .into_iter()
            .flatten()
            .flatten()
            .map(|entry| entry.path()),
    );
    paths.sort();
    let texts = paths
        .iter()
        .filter_map(|path| std::fs::read_to_string(path).ok());
    texts.into_iter().find_map(|text| source_in(&text))
}

fn source_in(text: &str) -> Option<Source> {
    one_line(text).or_else(|| deb822(text))
}

/// `deb [options] mirror suite components`
fn one_line(text: &str) -> Option<Source> {
    text.lines().find_map(|line| {
        let rest = line.trim().strip_prefix("deb ")?.trim();
        let (options, rest) = match rest.strip_prefix('[') {
            Some(rest) => rest.split_once(']')?,
            None => ("", rest),
        };
        let mut words = rest.split_whitespace();
        let (mirror, suite) = (words.next()?, words.next()?);
        let signed = options
            .split_whitespace()
            .find_map(|option| option.strip_prefix("signed-by="));
        is_debian(mirror, suite).then(|| Source {
            mirror: mirror.to_owned(),
            signed_by: signed.map(str::to_owned),
        })
    })
}

/// Paragraphs of `Name: value`.
fn deb822(text: &str) -> Option<Source> {
    text.split("\n\n").find_map(|paragraph| {
        let field = |name: &str| {
            paragraph.lines().find_map(|line| {
                let (found, value) = line.split_once(':')?;
                found.eq_ignore_ascii_case(name).then(|| value.trim())
            })
        };
        let mirror = field("URIs")?.split_whitespace().next()?;
        let suite = field("Suites")?.split_whitespace().next()?;
        is_debian(mirror, suite).then(|| Source {
            mirror: mirror.to_owned(),
            // A key that stands in the paragraph itself goes over several lines.
            signed_by: field("Signed-By")
                .filter(|key| key.starts_with('/'))
                .map(str::to_owned),
        })
    })
}

/// The main archive of a release, not its security updates, and nobody else's packages.
fn is_debian(mirror: &str, suite: &str) -> bool {
    mirror.trim_end_matches('/').ends_with("/debian") && !suite.contains('/')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mirror_is_found_in_either_form() {
        let modern = "Types: deb\nURIs: https://other.example/apt\nSuites: stable\n\n\
                      Types: deb\nURIs: http://mirror.example/debian/\nSuites: bookworm a\n\
                      Components: main\nSigned-By: /usr/share/keyrings/k.gpg\n";
        let found = source_in(modern).unwrap();
        assert_eq!(
            found.line(),
            "deb [signed-by=/usr/share/keyrings/k.gpg] http://mirror.example/debian/ bullseye main\n"
        );
        let old = "# deb http://no.example/debian x\ndeb-src http://no.example/debian x main\n\
                   deb [arch=amd64 signed-by=/k.gpg] http://m.example/debian bookworm main\n";
        let found = source_in(old).unwrap();
        assert_eq!(
            found.line(),
            "deb [signed-by=/k.gpg] http://m.example/debian bullseye main\n"
        );
        let plain = source_in("deb http://m.example/debian bookworm main").unwrap();
        assert_eq!(plain.line(), "deb http://m.example/debian bullseye main\n");
    }

    #[test]
    fn security_updates_and_strangers_are_no_mirror() {
        assert_eq!(
            source_in("deb http://m.example/debian-security bookworm-security main"),
            None
        );
        assert_eq!(
            source_in("deb https://packages.example/apt stable main"),
            None
        );
    }
}
