//! The program that exec sessions run inside containers, built from the sources under test.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
};

use crate::cargo;

/// Names the stub that was built already, when many test processes need it.
pub const STUB: &str = "LONGSHORE_TEST_STUB";

/// Builds the stub as `cargo xtask stub` does, statically for this machine, and says where it is; or
/// where [`STUB`] says that it is.
///
/// # Panics
/// When it does not build: then there is nothing to test.
#[must_use]
pub fn stub() -> PathBuf {
    if let Some(built) = std::env::var_os(STUB) {
        return built.into();
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    build_stub(&root).expect("the stub builds")
}

/// Builds the stub of the workspace at `root`.
///
/// # Errors
/// When cargo does not run, or fails; it has said why on its standard error.
pub fn build_stub(root: &Path) -> Result<PathBuf, String> {
    // Given by name, a target keeps the flags away from build scripts, which can't all be static.
    let target = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    let folder = root.join("target/stub");
    let status = cargo()
        .args(["build", "--quiet", "--profile", "stub"])
        .args(["--package", "longshore-exec-stub", "--features", "program"])
        .args(["--target", &target, "--target-dir"])
        .arg(&folder)
        .env("RUSTFLAGS", "-C target-feature=+crt-static")
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .current_dir(root)
        .stdin(Stdio::null())
        .status()
        .map_err(|error| format!("cargo does not run: {error}"))?;
    if !status.success() {
        return Err(format!("cargo {status}"));
    }
    Ok(folder.join(target).join("stub/longshore-exec-stub"))
}
