use std::collections::VecDeque;

use longshore_core::{EngineEvent, EventAction, Timestamp};

/// Where an engine's event stream stands, so that a new one resumes without a gap and without
/// telling anything twice.
#[derive(Debug, Default)]
pub(super) struct Resume {
    last: Option<Timestamp>,
    seen: VecDeque<Key>,
}

type Key = (Timestamp, String, EventAction, String);

impl Resume {
    /// From when on to ask for events: the last one seen, which comes again.
    pub(super) fn since(&self) -> Option<Timestamp> {
        self.last
    }

    /// A place to begin, where nothing was seen yet.
    pub(super) fn begin(&mut self, at: Option<Timestamp>) {
        if self.last.is_none() {
            self.last = at;
        }
    }

    /// Another engine: nothing of the old one counts.
    pub(super) fn reset(&mut self) {
        *self = Self::default();
    }

    /// Says whether an event is new.
    pub(super) fn is_new(&mut self, event: &EngineEvent) -> bool {
        let key = (
            event.at,
            event.scope.clone(),
            event.action.clone(),
            event.actor.clone(),
        );
        if self.seen.contains(&key) {
            return false;
        }
        if self.seen.len() == REMEMBERED {
            self.seen.pop_front();
        }
        self.seen.push_back(key);
        self.last = self.last.max(Some(event.at));
        true
    }
}

/// What an event asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Consequence {
    /// Nothing in the view changes.
    Nothing,
    /// Look at the container.
    Inspect,
    /// The container is gone.
    Gone,
    /// Look at the images.
    Images,
    /// Read the engine's information again.
    Specs,
}

/// Swarm's table of what follows from which event.
pub(super) fn consequence(event: &EngineEvent) -> Consequence {
    match event.scope.as_str() {
        "container" => match &event.action {
            EventAction::Destroy => Consequence::Gone,
            EventAction::Other(word) => {
                let verb = word.split(':').next().unwrap_or(word);
                match verb {
                    "commit" => Consequence::Images,
                    "top" | "resize" | "attach" | "detach" | "copy" | "export" | "archive-path"
                    | "extract-to-dir" => Consequence::Nothing,
                    _ if verb.starts_with("exec_") => Consequence::Nothing,
                    _ => Consequence::Inspect,
                }
            }
            _ => Consequence::Inspect,
        },
        "image" => Consequence::Images,
        "daemon" if event.action.as_str() == "reload" => Consequence::Specs,
        _ => Consequence::Nothing,
    }
}

/// How many of the last events are remembered to tell repeated ones.
const REMEMBERED: usize = 256;

#[cfg(test)]
mod tests {
    use longshore_core::WorkloadId;

    use super::*;

    fn event(action: &str, at: u64) -> EngineEvent {
        EngineEvent::workload(
            &WorkloadId::new("c").unwrap(),
            EventAction::from_word(action),
            Timestamp::from_secs(at),
        )
    }

    #[test]
    fn a_resumed_stream_tells_nothing_twice() {
        let mut resume = Resume::default();
        assert!(resume.is_new(&event("create", 1)));
        assert!(resume.is_new(&event("start", 1)));
        assert_eq!(resume.since(), Some(Timestamp::from_secs(1)));
        assert!(!resume.is_new(&event("create", 1)));
        assert!(!resume.is_new(&event("start", 1)));
        assert!(resume.is_new(&event("die", 1)));
    }

    #[test]
    fn a_clock_set_back_loses_no_events() {
        let mut resume = Resume::default();
        assert!(resume.is_new(&event("start", 100)));
        assert!(resume.is_new(&event("die", 50)));
    }

    #[track_caller]
    fn check(action: &str, expected: Consequence) {
        assert_eq!(consequence(&event(action, 1)), expected, "{action}");
    }

    #[test]
    fn events_ask_for_what_swarm_did() {
        for action in ["die", "kill", "oom", "pause", "start", "rename", "update"] {
            check(action, Consequence::Inspect);
        }
        check("health_status: healthy", Consequence::Inspect);
        check("exec_create: sh", Consequence::Nothing);
        check("exec_die", Consequence::Nothing);
        check("archive-path", Consequence::Nothing);
        check("commit", Consequence::Images);
        check("destroy", Consequence::Gone);
        let mut reload = event("reload", 1);
        reload.scope = "daemon".into();
        assert_eq!(consequence(&reload), Consequence::Specs);
    }
}
