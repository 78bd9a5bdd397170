use std::{
    thread,
    time::{Duration, Instant},
};

/// Looks again and again until something holds.
///
/// # Panics
/// When it has not after so long, with what is missing and what there is instead.
#[track_caller]
pub fn wait_for(
    what: &str,
    patience: Duration,
    mut holds: impl FnMut() -> bool,
    found: impl FnOnce() -> String,
) {
    let start = Instant::now();
    while !holds() {
        if start.elapsed() >= patience {
            panic!("no {what} within {patience:?}\n{}", found());
        }
        thread::sleep(PAUSE);
    }
}

const PAUSE: Duration = Duration::from_millis(50);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_looks_until_it_holds() {
        let mut looks = 0;
        let holds = || {
            looks += 1;
            looks == 3
        };
        wait_for("third look", Duration::from_secs(60), holds, String::new);
        assert_eq!(looks, 3);
    }

    #[test]
    #[should_panic(expected = "no end within 0ns\nonly this")]
    fn who_waits_in_vain_is_told_what_there_is() {
        wait_for("end", Duration::ZERO, || false, || "only this".to_owned());
    }
}
