//! Where things are, and what is in the workspace.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::cargo;

/// The root of the repository.
pub(crate) fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_path_buf()
}

/// Cargo's own description of the workspace, without dependencies.
pub(crate) fn metadata() -> Result<Value, String> {
    let text = cargo::output(&["metadata", "--no-deps", "--format-version", "1"])?;
    serde_json::from_str(&text).map_err(|e| format!("cargo metadata: {e}"))
}

/// The files below `directory` that belong to the repository, in order: not
/// what was built, and nothing hidden except CI and cargo configuration.
pub(crate) fn files(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let Ok(entries) = std::fs::read_dir(directory) else {
        return found;
    };
    for entry in entries.flatten() {
        let path = entry.path();
        let name = entry.file_name().to_string_lossy().into_owned();
        let hidden = name.starts_with('.') && ![".ci", ".cargo", ".config"].contains(&&*name);
        let made = ["target", "node_modules", "dist"].contains(&&*name);
        if hidden || made || path.is_symlink() {
            continue;
        }
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.push(path);
        }
    }
    found.sort();
    found
}
