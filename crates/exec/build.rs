//! Says whether the page of the web terminal was built. The feature `web` is the page, so without
//! it the build stops, and says what to do.

use std::{env, path::Path};

fn main() {
    println!("cargo::rustc-check-cfg=cfg(page_is_built)");
    println!("cargo::rerun-if-changed=web/dist");
    println!("cargo::rerun-if-env-changed={OPTIONAL}");
    println!("cargo::rerun-if-env-changed={DOCS}");
    if env::var_os("CARGO_FEATURE_WEB").is_none() {
        return;
    }
    let here = env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default();
    let dist = Path::new(&here).join("web/dist");
    let missing = FILES.iter().find(|file| !dist.join(file).is_file());
    match missing {
        None => println!("cargo::rustc-cfg=page_is_built"),
        // No warning: whoever asks for the page is told, and cargo repeats warnings for ever.
        Some(_)
            if [OPTIONAL, DOCS]
                .iter()
                .any(|name| env::var_os(name).is_some()) => {}
        Some(file) => println!("cargo::error=web/dist/{file} is missing: {REMEDY}"),
    }
}

/// With this variable set, a missing page is told at run time only: for building and testing the
/// rest on a machine without npm.
const OPTIONAL: &str = "LONGSHORE_WEB_OPTIONAL";
/// Set where docs.rs builds: documentation needs no page.
const DOCS: &str = "DOCS_RS";
const REMEDY: &str = "the feature `web` embeds the page of the web terminal, which is built first: \
    run `npm ci && npm run build` in crates/exec/web (or set LONGSHORE_WEB_OPTIONAL=1 to build \
    without the page)";
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
