//! The web terminal in a real browser: headless Chromium opens the page that the crate embeds. Needs
//! `chromium`, and `npm ci && npm run build` in `crates/exec/web` before the build.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "tests may be blunt"
)]

mod browser;
mod relay;
mod server;
mod terminal;
mod xterm;
