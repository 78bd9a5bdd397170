//! Root file systems for images, because there is no registry.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::{LabError, tool};

/// The content of an image, built from the machine's own programs.
#[derive(Debug, Clone)]
pub struct Rootfs {
    entries: Vec<Entry>,
    present: BTreeSet<PathBuf>,
}

#[derive(Debug, Clone)]
enum Entry {
    Directory(PathBuf, u32),
    Link(PathBuf, PathBuf),
    File(PathBuf, Vec<u8>, u32),
}

impl Rootfs {
    /// Nothing at all: no shell, no user, no directory.
    #[must_use]
    pub fn empty() -> Self {
        Self {
            entries: Vec::new(),
            present: BTreeSet::new(),
        }
    }

    /// A system with Debian's static busybox and all its applets in `/bin`.
    ///
    /// # Errors
    /// When there is no statically linked busybox on this machine.
    pub fn busybox() -> Result<Self, LabError> {
        let program = tool::find("busybox")
            .ok_or_else(|| LabError::new("no busybox: install busybox-static"))?;
        let applets = tool::run(Command::new(&program).arg("--list"))?;
        let mut rootfs = Self::empty();
        for directory in [
            "bin", "dev", "etc", "proc", "root", "sys", "usr/bin", "var/www",
        ] {
            rootfs.directory(Path::new(directory), 0o755);
        }
        rootfs.directory(Path::new("tmp"), 0o1777);
        rootfs = rootfs
            .with_file(
                "/etc/passwd",
                "root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000::/tmp:/bin/sh\n",
                0o644,
            )
            .with_file("/etc/group", "root:x:0:\nuser:x:1000:\n", 0o644)
            .with_program(&program, "/bin/busybox")?;
        for applet in applets.lines().filter(|applet| *applet != "busybox") {
            rootfs.link(&Path::new("bin").join(applet), Path::new("busybox"));
        }
        Ok(rootfs)
    }

    /// [`Rootfs::busybox`] plus the machine's own bash and its libraries.
    ///
    /// # Errors
    /// When one of them is missing.
    pub fn bash() -> Result<Self, LabError> {
        let bash = tool::find("bash").ok_or_else(|| LabError::new("no bash on this machine"))?;
        Self::busybox()?.with_program(&bash, "/bin/bash")
    }

    /// Adds one of the machine's programs, with the shared libraries it needs,
    /// at the absolute path `destination`.
    ///
    /// # Errors
    /// When the program or one of its libraries cannot be read.
    pub fn with_program(mut self, program: &Path, destination: &str) -> Result<Self, LabError> {
        self.copy(program, Path::new(destination))?;
        for library in libraries(program) {
            self.copy(&library, &library)?;
        }
        Ok(self)
    }

    /// Adds a file at the absolute path `destination`.
    #[must_use]
    pub fn with_file(mut self, destination: &str, content: impl Into<Vec<u8>>, mode: u32) -> Self {
        self.file(Path::new(destination), content.into(), mode);
        self
    }

    /// The tar archive, with fixed times and owners: same content, same bytes.
    ///
    /// # Errors
    /// When a name does not fit a tar header.
    pub fn to_tar(&self) -> Result<Vec<u8>, LabError> {
        let failed = |e| LabError::io("cannot build an image", e);
        let mut archive = tar::Builder::new(Vec::new());
        for entry in &self.entries {
            let mut header = tar::Header::new_gnu();
            match entry {
                Entry::Directory(path, mode) => {
                    header.set_entry_type(tar::EntryType::Directory);
                    header.set_mode(*mode);
                    header.set_size(0);
                    archive
                        .append_data(&mut header, path, std::io::empty())
                        .map_err(failed)?;
                }
                Entry::Link(path, target) => {
                    header.set_entry_type(tar::EntryType::Symlink);
                    header.set_mode(0o777);
                    header.set_size(0);
                    archive
                        .append_link(&mut header, path, target)
                        .map_err(failed)?;
                }
                Entry::File(path, content, mode) => {
                    header.set_mode(*mode);
                    header.set_size(content.len() as u64);
                    archive
                        .append_data(&mut header, path, content.as_slice())
                        .map_err(failed)?;
                }
            }
        }
        archive.into_inner().map_err(failed)
    }

    fn copy(&mut self, source: &Path, destination: &Path) -> Result<(), LabError> {
        let content = std::fs::read(source)
            .map_err(|e| LabError::io(format!("cannot read {}", source.display()), e))?;
        self.file(destination, content, 0o755);
        Ok(())
    }

    fn file(&mut self, path: &Path, content: Vec<u8>, mode: u32) {
        let path = relative(path);
        self.parents(&path);
        if self.present.insert(path.clone()) {
            self.entries.push(Entry::File(path, content, mode));
        }
    }

    fn link(&mut self, path: &Path, target: &Path) {
        let path = relative(path);
        if self.present.insert(path.clone()) {
            self.entries.push(Entry::Link(path, target.to_path_buf()));
        }
    }

    fn directory(&mut self, path: &Path, mode: u32) {
        let path = relative(path);
        self.parents(&path);
        if self.present.insert(path.clone()) {
            self.entries.push(Entry::Directory(path, mode));
        }
    }

    fn parents(&mut self, path: &Path) {
        if let Some(parent) = path
            .parent()
            .filter(|parent| !parent.as_os_str().is_empty())
        {
            self.directory(parent, 0o755);
        }
    }
}

fn relative(path: &Path) -> PathBuf {
    path.strip_prefix("/").unwrap_or(path).to_path_buf()
}

/// What `ldd` names for a dynamic program; nothing for a static one.
fn libraries(program: &Path) -> Vec<PathBuf> {
    let listed = tool::run(tool::command("ldd").arg(program)).unwrap_or_default();
    listed
        .split_whitespace()
        .filter(|word| word.starts_with('/') && !word.ends_with(':'))
        .map(PathBuf::from)
        .collect()
}
