use std::time::Duration;

use longshore_core::{Error, Result, printable};

/// How fast a recording is shown, and how much of its silence.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::gateway) struct Pace {
    /// Times as fast as it was.
    speed: f64,
    /// No pause of the recording counts as longer.
    longest_pause: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            speed: 1.0,
            longest_pause: Duration::MAX,
        }
    }
}

impl Pace {
    /// From a query: a factor, and seconds; decimals.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`](longshore_core::ErrorKind::InvalidInput): one of them is not within
    /// its bounds.
    pub(in crate::gateway) fn parse(speed: Option<&str>, pause: Option<&str>) -> Result<Self> {
        let mut pace = Self::default();
        if let Some(text) = speed {
            pace.speed = number("speed", text, SLOWEST, FASTEST)?;
        }
        if let Some(text) = pause {
            let seconds = number("idle", text, SHORTEST_PAUSE, LONGEST_PAUSE)?;
            pace.longest_pause = Duration::from_secs_f64(seconds);
        }
        Ok(pace)
    }
}

/// When what is shown, counted from the beginning of the showing.
#[derive(Clone, Copy, Debug)]
pub(super) struct Timeline {
    pace: Pace,
    /// How far the recording is.
    recorded: Duration,
    /// How far the showing is.
    shown: Duration,
}

impl Timeline {
    pub(super) fn new(pace: Pace) -> Self {
        Self {
            pace,
            recorded: Duration::ZERO,
            shown: Duration::ZERO,
        }
    }

    /// When the next piece is due, which was recorded at this time.
    pub(super) fn due(&mut self, at: Duration) -> Duration {
        let pause = at.saturating_sub(self.recorded);
        self.recorded = self.recorded.max(at);
        let pause = pause.min(self.pace.longest_pause).min(LONGEST_WAIT);
        self.shown += pause.div_f64(self.pace.speed);
        self.shown
    }
}

fn number(name: &str, text: &str, least: f64, most: f64) -> Result<f64> {
    let number = text.parse().ok().filter(|it| (least..=most).contains(it));
    number.ok_or_else(|| {
        let shown = printable(text, 40);
        Error::invalid(format!(
            "{name}={shown}: expected a number from {least} to {most}"
        ))
    })
}

const SLOWEST: f64 = 0.01;
const FASTEST: f64 = 1000.0;
const SHORTEST_PAUSE: f64 = 0.01;
const LONGEST_PAUSE: f64 = 86_400.0;
/// A damaged time does not make anybody wait for ever, and no sum too large.
const LONGEST_WAIT: Duration = Duration::from_secs(366 * 86_400);

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(speed: Option<&str>, pause: Option<&str>, recorded: &[u64], shown: &[u64]) {
        let mut line = Timeline::new(Pace::parse(speed, pause).unwrap());
        let due: Vec<_> = recorded
            .iter()
            .map(|&at| line.due(Duration::from_millis(at)).as_millis() as u64)
            .collect();
        assert_eq!(due, shown);
    }

    #[test]
    fn a_recording_is_shown_as_it_was_or_faster() {
        check(None, None, &[0, 500, 90_000], &[0, 500, 90_000]);
        check(Some("2"), None, &[0, 500, 90_000], &[0, 250, 45_000]);
        check(Some("0.5"), None, &[10, 20], &[20, 40]);
        // A pause is shortened before it is shown faster.
        check(
            None,
            Some("1.5"),
            &[500, 90_500, 91_000],
            &[500, 2000, 2500],
        );
        check(Some("10"), Some("2"), &[60_000, 60_100], &[200, 210]);
    }

    #[test]
    fn times_that_go_back_or_too_far_make_nobody_wait() {
        check(None, None, &[1000, 400, 1100], &[1000, 1000, 1100]);
        let mut line = Timeline::new(Pace::parse(Some("0.01"), None).unwrap());
        for _ in 0..100 {
            line.due(Duration::MAX);
        }
        assert!(line.due(Duration::MAX) < Duration::from_secs(1 << 36));
    }

    #[test]
    fn what_is_no_pace_is_refused() {
        for text in ["", "x", "0", "-1", "nan", "inf", "1e9", "1001"] {
            Pace::parse(Some(text), None).unwrap_err();
        }
        for text in ["0", "-1", "nan", "1e300", "86401"] {
            Pace::parse(None, Some(text)).unwrap_err();
        }
    }
}
