//! Says whether the page of the web terminal was built, so that the feature `web` compiles on
//! machines without npm.

use std::{env, path::Path};

fn main() {
    println!("cargo::rustc-check-cfg=cfg(page_is_built)");
    println!("cargo::rerun-if-changed=web/dist");
    println!("cargo::rerun-if-env-changed={REQUIRED}");
    if env::var_os("CARGO_FEATURE_WEB").is_none() {
        return;
    }
    let here = env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default();
    let dist = Path::new(&here).join("web/dist");
    let missing = FILES.iter().find(|file| !dist.join(file).is_file());
    match missing {
        None => println!("cargo::rustc-cfg=page_is_built"),
        Some(file) if env::var_os(REQUIRED).is_some() => {
            println!("cargo::error=web/dist/{file} is missing: {REMEDY}");
        }
        // No warning: whoever asks for the page is told, and cargo repeats warnings for ever.
        Some(_) => {}
    }
}

/// With this variable set, a missing page stops the build.
const REQUIRED: &str = "LONGSHORE_WEB_REQUIRED";
const REMEDY: &str = "run `npm ci && npm run build` in crates/exec/web";
/// What `web/build.mjs` makes and `src/web/embedded.rs` embeds.
const FILES: [&str; 13] = [
    "LICENSE.xterm",
    "addon-fit.mjs",
    "addon-serialize.mjs",
    "addon-unicode11.mjs",
    "frames.mjs",
    "index.html",
    "kept.mjs",
    "link.mjs",
    "page.css",
    "page.mjs",
    "session.mjs",
    "xterm.css",
    "xterm.mjs",
];
