//! What the platform tells a person while it works: on standard error, so that output stays clean.

use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use crate::say::note;

/// One step with a spinner where there is a terminal, and plain lines where there is none.
pub struct Step {
    bar: ProgressBar,
    start: Instant,
    text: String,
}

impl Step {
    pub fn start(text: impl Into<String>) -> Self {
        let text = text.into();
        let bar = ProgressBar::new_spinner();
        if let Ok(style) = ProgressStyle::with_template("{spinner:.cyan} {msg}") {
            bar.set_style(style);
        }
        bar.set_message(text.clone());
        bar.enable_steady_tick(Duration::from_millis(100));
        if bar.is_hidden() {
            note(format_args!("… {text}"));
        }
        Self {
            bar,
            start: Instant::now(),
            text,
        }
    }

    /// Says what it waits for, also where there is no terminal.
    pub fn waits_for(&self, what: &str) {
        self.update(what);
        if self.bar.is_hidden() {
            note(format_args!("… {}: {what}", self.text));
        }
    }

    /// Says how far it is.
    pub fn update(&self, detail: &str) {
        self.bar.set_message(format!("{} ({detail})", self.text));
    }

    pub fn done(self, result: &str) {
        let seconds = self.start.elapsed().as_secs_f64();
        self.bar.finish_and_clear();
        note(format_args!("✔ {}: {result} [{seconds:.1} s]", self.text));
    }
}
