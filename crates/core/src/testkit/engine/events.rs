use std::time::Duration;

use super::{Harness, trial::Trial};
use crate::{EngineEvent, EventAction};

/// A whole life is told in order, with the workload's name and its exit code.
pub async fn every_change_of_state_is_an_event(harness: &dyn Harness) {
    let trial = Trial::new(harness);
    let mut events = trial.engine.events(None).await.expect("events");
    let name = trial.name();
    let spec = trial.spec(trial.programs.exit(5)).with_name(name.clone());
    let id = trial.try_create(&spec).await.expect("create");
    let renamed = trial.name();
    trial.engine.rename(&id, &renamed).await.expect("rename");
    trial.start(&id).await;
    trial.wait(&id).await;
    trial.remove(&id).await;
    let seen = trial.actions(&mut events, &id, &EventAction::Destroy).await;
    let told = in_order(
        &seen,
        &[
            EventAction::Create,
            EventAction::Rename,
            EventAction::Start,
            EventAction::Die,
            EventAction::Destroy,
        ],
    );
    assert_eq!(attribute(told[0], "name"), Some(name.as_str()));
    assert_eq!(attribute(told[0], "image"), Some(spec.image.as_str()));
    assert_eq!(attribute(told[2], "name"), Some(renamed.as_str()));
    assert_eq!(attribute(told[3], "exitCode"), Some("5"));
    assert!(told.iter().all(|event| event.scope == "container"));
    trial.finish().await;
}

/// A stop is told as the signal, the end and the stop.
pub async fn events_that_follow_the_call_are_told(harness: &dyn Harness) {
    let trial = Trial::new(harness);
    let id = trial.run_ready(trial.programs.forever()).await;
    let mut events = trial.engine.events(None).await.expect("events");
    trial.stop(&id, Duration::from_secs(20)).await;
    let seen = trial.actions(&mut events, &id, &EventAction::Stop).await;
    in_order(
        &seen,
        &[EventAction::Kill, EventAction::Die, EventAction::Stop],
    );
    assert!(seen.iter().all(|event| event.action != EventAction::Create));
    trial.finish().await;
}

/// With a time in the past, earlier events come first, then new ones.
pub async fn events_since_a_time_are_told_again(harness: &dyn Harness) {
    let trial = Trial::new(harness);
    let before = trial.clock.now().before(Duration::from_secs(2));
    let id = trial.run(trial.programs.exit(0)).await;
    trial.wait(&id).await;
    let mut events = trial.engine.events(Some(before)).await.expect("events");
    let seen = trial.actions(&mut events, &id, &EventAction::Die).await;
    in_order(
        &seen,
        &[EventAction::Create, EventAction::Start, EventAction::Die],
    );
    trial.remove(&id).await;
    let seen = trial.actions(&mut events, &id, &EventAction::Destroy).await;
    in_order(&seen, &[EventAction::Destroy]);
    trial.finish().await;
}

/// Finds the wanted actions in this order; others may stand between them (`attach`, `network`).
#[track_caller]
fn in_order<'a>(seen: &'a [EngineEvent], wanted: &[EventAction]) -> Vec<&'a EngineEvent> {
    let mut rest = seen.iter();
    wanted
        .iter()
        .map(|action| {
            let actions: Vec<_> = seen.iter().map(|event| event.action.as_str()).collect();
            rest.find(|event| event.action == *action)
                .unwrap_or_else(|| panic!("no {} in its place: {actions:?}", action.as_str()))
        })
        .collect()
}

fn attribute<'a>(event: &'a EngineEvent, key: &str) -> Option<&'a str> {
    event.attributes.get(key).map(String::as_str)
}
