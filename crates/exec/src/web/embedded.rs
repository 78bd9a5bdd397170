use longshore_core::{Error, Result};

use super::{Asset, Assets};

/// The page, compiled in.
///
/// Its files are built with npm before the crate is (`npm ci && npm run build` in `crates/exec/web`);
/// a published crate has them. A build without them stops and says so. With `LONGSHORE_WEB_OPTIONAL`
/// set it compiles, for work on the rest without npm, and [`load`](Self::load) says what is missing.
#[derive(Clone, Debug)]
pub struct EmbeddedPage {
    files: &'static [File],
}

/// Name, media type, content.
type File = (&'static str, &'static str, &'static [u8]);

impl EmbeddedPage {
    /// The page.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`](longshore_core::ErrorKind::Unsupported) when the crate was built
    /// without it.
    pub fn load() -> Result<Self> {
        if FILES.is_empty() {
            return Err(Error::unsupported(
                "longshore-exec was built without its page: run `npm ci && npm run build` in \
                 crates/exec/web and build again",
            ));
        }
        Ok(Self { files: FILES })
    }
}

impl Assets for EmbeddedPage {
    fn find(&self, name: &str) -> Option<Asset> {
        let (_, content_type, bytes) = self.files.iter().find(|(known, ..)| *known == name)?;
        Some(Asset::new(*bytes, content_type, version(bytes)))
    }
}

/// FNV-1a: tells builds apart, and keeps no secret.
fn version(bytes: &[u8]) -> String {
    let hash = bytes.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    format!("{hash:016x}")
}

#[cfg(page_is_built)]
macro_rules! files {
    ($($name:literal: $content_type:expr,)*) => {
        &[$(($name, $content_type, include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/web/dist/", $name)))),*]
    };
}

#[cfg(page_is_built)]
const FILES: &[File] = files! {
    "index.html": "text/html; charset=utf-8",
    "page.css": CSS,
    "page.mjs": SCRIPT,
    "frames.mjs": SCRIPT,
    "session.mjs": SCRIPT,
    "link.mjs": SCRIPT,
    "kept.mjs": SCRIPT,
    "xterm.css": CSS,
    "xterm.mjs": SCRIPT,
    "addon-fit.mjs": SCRIPT,
    "addon-serialize.mjs": SCRIPT,
    "addon-unicode11.mjs": SCRIPT,
    "LICENSE.xterm": "text/plain; charset=utf-8",
};
#[cfg(not(page_is_built))]
const FILES: &[File] = &[];

#[cfg(page_is_built)]
const SCRIPT: &str = "text/javascript; charset=utf-8";
#[cfg(page_is_built)]
const CSS: &str = "text/css; charset=utf-8";
