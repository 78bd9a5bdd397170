//! One session with a plane as a pure state machine.

use std::{collections::VecDeque, time::Duration};

use longshore_core::{Labels, Timestamp};

use crate::wire::{AgentMessage, EngineStatus, PROTOCOL_VERSION, PlaneMessage};

/// What the driver must do.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Output {
    Send(AgentMessage),
    /// The plane has welcomed the node.
    Welcomed,
    /// The session is over.
    End(End),
}

/// Why a session is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct End {
    pub(crate) reason: String,
    /// The plane asked for this pause before the next attempt.
    pub(crate) retry_after: Option<Duration>,
}

#[derive(Debug)]
enum State {
    Greeting {
        deadline: Timestamp,
    },
    Live {
        heartbeat: Duration,
        next_beat: Timestamp,
        silent_at: Timestamp,
    },
    Over,
}

#[derive(Debug)]
pub(crate) struct Session {
    state: State,
    epoch: u64,
    /// What is wrong with the engine, and what the plane was told of it.
    engine_error: Option<String>,
    told: Option<String>,
    outputs: VecDeque<Output>,
}

impl Session {
    pub(crate) fn new(
        name: &str,
        labels: &Labels,
        epoch: u64,
        limit: Duration,
        now: Timestamp,
    ) -> Self {
        let hello = AgentMessage::Hello {
            version: PROTOCOL_VERSION,
            name: name.to_owned(),
            epoch,
            agent: concat!("longshore-agent/", env!("CARGO_PKG_VERSION")).to_owned(),
            labels: labels.clone(),
        };
        Self {
            state: State::Greeting {
                deadline: now.after(limit),
            },
            epoch,
            engine_error: None,
            told: None,
            outputs: VecDeque::from([Output::Send(hello)]),
        }
    }

    pub(crate) fn handle(&mut self, message: PlaneMessage, now: Timestamp) {
        match (&mut self.state, message) {
            (State::Over, _) | (_, PlaneMessage::Unknown(_)) => {}
            (
                State::Greeting { .. },
                PlaneMessage::Welcome {
                    version,
                    epoch,
                    heartbeat_ms,
                },
            ) => {
                if version != PROTOCOL_VERSION || epoch != self.epoch {
                    self.end(
                        format!("the plane answered with version {version} and epoch {epoch}"),
                        None,
                    );
                    return;
                }
                let heartbeat =
                    Duration::from_millis(heartbeat_ms).clamp(SHORTEST_BEAT, LONGEST_BEAT);
                self.state = State::Live {
                    heartbeat,
                    next_beat: now.after(heartbeat),
                    silent_at: now.after(heartbeat * ALLOWED_SILENCE),
                };
                self.outputs.push_back(Output::Welcomed);
                self.tell_of_the_engine();
            }
            (
                State::Greeting { .. },
                PlaneMessage::Refused {
                    reason,
                    retry_after_ms,
                },
            ) => {
                let pause = retry_after_ms.map(|ms| Duration::from_millis(ms).min(LONGEST_PAUSE));
                self.end(format!("the plane refused the node: {reason}"), pause);
            }
            (
                State::Live {
                    heartbeat,
                    silent_at,
                    ..
                },
                PlaneMessage::Beat,
            ) => {
                *silent_at = now.after(*heartbeat * ALLOWED_SILENCE);
            }
            (_, PlaneMessage::Bye { reason }) => {
                self.end(format!("the plane said goodbye: {reason}"), None);
            }
            (_, unexpected) => {
                self.end(
                    format!("the plane sent an unexpected message: {unexpected:?}"),
                    None,
                );
            }
        }
    }

    /// The engine can be reached again, or can't for this reason. The plane sees no more of a failure
    /// than a stream that is refused, so it is told.
    pub(crate) fn engine(&mut self, error: Option<String>) {
        self.engine_error = error.map(|mut error| {
            error.truncate(error.floor_char_boundary(LONGEST_ERROR));
            error
        });
        self.tell_of_the_engine();
    }

    fn tell_of_the_engine(&mut self) {
        if !matches!(self.state, State::Live { .. }) || self.told == self.engine_error {
            return;
        }
        self.told.clone_from(&self.engine_error);
        let engine = match &self.told {
            None => EngineStatus::Up,
            Some(_) => EngineStatus::Down,
        };
        let error = self.told.clone();
        let status = AgentMessage::Status { engine, error };
        self.outputs.push_back(Output::Send(status));
    }

    /// To be called at [`next_deadline`](Self::next_deadline).
    pub(crate) fn tick(&mut self, now: Timestamp) {
        match &mut self.state {
            State::Greeting { deadline } if now >= *deadline => {
                self.end("the plane did not answer the greeting in time".into(), None);
            }
            State::Live { silent_at, .. } if now >= *silent_at => {
                self.end("the plane stopped answering".into(), None);
            }
            State::Live {
                heartbeat,
                next_beat,
                ..
            } if now >= *next_beat => {
                *next_beat = now.after(*heartbeat);
                self.outputs.push_back(Output::Send(AgentMessage::Beat));
            }
            _ => {}
        }
    }

    pub(crate) fn next_deadline(&self) -> Option<Timestamp> {
        match &self.state {
            State::Greeting { deadline } => Some(*deadline),
            State::Live {
                next_beat,
                silent_at,
                ..
            } => Some(*next_beat.min(silent_at)),
            State::Over => None,
        }
    }

    pub(crate) fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    fn end(&mut self, reason: String, retry_after: Option<Duration>) {
        self.state = State::Over;
        self.outputs.push_back(Output::End(End {
            reason,
            retry_after,
        }));
    }
}

/// So many heartbeats without a word mean that the plane is gone.
const ALLOWED_SILENCE: u32 = 3;
const SHORTEST_BEAT: Duration = Duration::from_millis(100);
const LONGEST_BEAT: Duration = Duration::from_secs(60);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
const LONGEST_ERROR: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    const START: Timestamp = Timestamp::from_secs(1000);

    fn greeting() -> Session {
        let mut session = Session::new("n", &Labels::new(), 7, Duration::from_secs(10), START);
        assert!(matches!(
            session.poll_output(),
            Some(Output::Send(AgentMessage::Hello { epoch: 7, .. }))
        ));
        session
    }

    fn live() -> Session {
        let mut session = greeting();
        let welcome = PlaneMessage::Welcome {
            version: 1,
            epoch: 7,
            heartbeat_ms: 5000,
        };
        session.handle(welcome, START);
        assert_eq!(session.poll_output(), Some(Output::Welcomed));
        session
    }

    #[track_caller]
    fn ended(session: &mut Session) -> End {
        match session.poll_output() {
            Some(Output::End(end)) => end,
            other => panic!("expected the end, got {other:?}"),
        }
    }

    #[test]
    fn a_silent_greeting_ends_the_session() {
        let mut session = greeting();
        let deadline = session.next_deadline().unwrap();
        session.tick(deadline.before(Duration::from_micros(1)));
        assert_eq!(session.poll_output(), None);
        session.tick(deadline);
        assert!(ended(&mut session).reason.contains("greeting"));
        assert_eq!(session.next_deadline(), None);
    }

    #[test]
    fn beats_are_sent_and_silence_is_noticed() {
        let mut session = live();
        let mut beats = 0;
        let (now, end) = loop {
            let now = session.next_deadline().unwrap();
            session.tick(now);
            match session.poll_output() {
                Some(Output::Send(AgentMessage::Beat)) => beats += 1,
                Some(Output::End(end)) => break (now, end),
                other => panic!("{other:?}"),
            }
        };
        assert_eq!((beats, now.since(START)), (2, Duration::from_secs(15)));
        assert_eq!(end.reason, "the plane stopped answering");
    }

    #[test]
    fn the_planes_beats_keep_the_session() {
        let mut session = live();
        for second in 1..1000 {
            let now = START.after(Duration::from_secs(second));
            session.handle(PlaneMessage::Beat, now);
            session.tick(now);
            while let Some(output) = session.poll_output() {
                assert_eq!(output, Output::Send(AgentMessage::Beat));
            }
        }
    }

    #[test]
    fn the_plane_is_told_of_the_engine_when_that_changes() {
        let status = |engine, error: Option<&str>| {
            let error = error.map(str::to_owned);
            Some(Output::Send(AgentMessage::Status { engine, error }))
        };
        let mut session = greeting();
        session.engine(Some("no such socket".into()));
        assert_eq!(session.poll_output(), None, "not before the welcome");
        let welcome = PlaneMessage::Welcome {
            version: 1,
            epoch: 7,
            heartbeat_ms: 5000,
        };
        session.handle(welcome, START);
        assert_eq!(session.poll_output(), Some(Output::Welcomed));
        let down = status(EngineStatus::Down, Some("no such socket"));
        assert_eq!(session.poll_output(), down);
        session.engine(Some("no such socket".into()));
        assert_eq!(session.poll_output(), None, "it is no news");
        session.engine(None);
        assert_eq!(session.poll_output(), status(EngineStatus::Up, None));
        session.engine(None);
        assert_eq!(session.poll_output(), None);
    }

    #[test]
    fn a_refusal_carries_its_pause() {
        let mut session = greeting();
        let refused = PlaneMessage::Refused {
            reason: "older epoch".into(),
            retry_after_ms: Some(u64::MAX),
        };
        session.handle(refused, START);
        let end = ended(&mut session);
        assert_eq!(end.retry_after, Some(LONGEST_PAUSE));
        assert!(end.reason.contains("older epoch"));
    }

    #[test]
    fn a_wrong_epoch_or_order_ends_the_session() {
        let mut session = greeting();
        session.handle(
            PlaneMessage::Welcome {
                version: 1,
                epoch: 8,
                heartbeat_ms: 1,
            },
            START,
        );
        ended(&mut session);
        let mut session = greeting();
        session.handle(PlaneMessage::Beat, START);
        ended(&mut session);
    }
}
