use crate::testkit::suite::does_not_apply;
use std::{fmt::Debug, time::Duration};

use super::{Harness, trial::Trial};
use crate::{
    Error, ErrorKind, ListFilter, LogOptions, RemoveOptions, Signal, WorkloadId, WorkloadSpec,
};

/// It answers, has an identity that stays the same, and has resources.
pub async fn the_engine_answers_and_says_what_it_is(harness: &dyn Harness) {
    let trial = Trial::new(harness);
    trial.within(trial.engine.ping()).await.expect("ping");
    let info = trial.engine.info().await.expect("info");
    assert!(!info.cpu.is_zero() && !info.memory.is_zero(), "{info:?}");
    let again = trial.engine.info().await.expect("info");
    assert_eq!((info.id, info.name), (again.id, again.name));
    assert!(!trial.engine.connector().describe().is_empty());
    trial.finish().await;
}

/// A name belongs to one workload at a time.
pub async fn a_name_is_held_by_one_workload(harness: &dyn Harness) {
    let trial = Trial::new(harness);
    let spec = trial.spec(trial.programs.exit(0)).with_name(trial.name());
    let first = trial.try_create(&spec).await.expect("create");
    let error = trial.try_create(&spec).await.expect_err("a refusal");
    assert_eq!(error.kind(), ErrorKind::AlreadyExists, "{error:?}");
    let workload = trial.engine.inspect(&first).await.expect("inspect");
    assert_eq!(Some(workload.name()), spec.name.as_ref().map(AsRef::as_ref));
    trial.finish().await;
}

/// A removal frees the name.
pub async fn a_name_is_free_after_removal(harness: &dyn Harness) {
    let trial = Trial::new(harness);
    let spec = trial.spec(trial.programs.exit(0)).with_name(trial.name());
    let first = trial.try_create(&spec).await.expect("create");
    trial.remove(&first).await;
    let second = trial.try_create(&spec).await.expect("create again");
    assert_ne!(first, second, "an id is never used again");
    trial.finish().await;
}

/// Without a name the engine makes one up.
pub async fn a_nameless_workload_gets_a_name(harness: &dyn Harness) {
    let trial = Trial::new(harness);
    let first = trial.create(trial.programs.exit(0)).await;
    let second = trial.create(trial.programs.exit(0)).await;
    let first = trial.engine.inspect(&first).await.expect("inspect");
    let second = trial.engine.inspect(&second).await.expect("inspect");
    assert!(!first.name().is_empty() && !first.name().starts_with('/'));
    assert_ne!(first.name(), second.name());
    trial.finish().await;
}

/// After a rename the id is the same and the old name is free.
pub async fn a_rename_frees_the_old_name(harness: &dyn Harness) {
    let trial = Trial::new(harness);
    let spec = trial.spec(trial.programs.exit(0)).with_name(trial.name());
    let id = trial.try_create(&spec).await.expect("create");
    let name = trial.name();
    trial.engine.rename(&id, &name).await.expect("rename");
    let workload = trial.engine.inspect(&id).await.expect("inspect");
    assert_eq!(workload.name(), name.as_str());
    trial.try_create(&spec).await.expect("the old name is free");
    trial.finish().await;
}

/// A rename to another's name is refused and changes nothing.
pub async fn a_rename_to_a_taken_name_is_refused(harness: &dyn Harness) {
    let trial = Trial::new(harness);
    let spec = trial.spec(trial.programs.exit(0)).with_name(trial.name());
    trial.try_create(&spec).await.expect("create");
    let other = trial.create(trial.programs.exit(0)).await;
    let before = trial.engine.inspect(&other).await.expect("inspect");
    let taken = spec.name.expect("it has one");
    let error = trial
        .engine
        .rename(&other, &taken)
        .await
        .expect_err("a refusal");
    assert_eq!(error.kind(), ErrorKind::AlreadyExists, "{error:?}");
    let after = trial.engine.inspect(&other).await.expect("inspect");
    assert_eq!(before.names, after.names);
    trial.finish().await;
}

/// A list by id holds that workload, or nothing.
pub async fn a_filter_by_id_lists_only_that(harness: &dyn Harness) {
    let trial = Trial::new(harness);
    let id = trial.create(trial.programs.exit(0)).await;
    trial.create(trial.programs.exit(0)).await;
    let filter = ListFilter::id(id.clone());
    let listed = trial.engine.list(&filter).await.expect("list");
    assert_eq!(listed.len(), 1);
    assert_eq!(listed[0].id, id);
    trial.remove(&id).await;
    assert!(trial.engine.list(&filter).await.expect("list").is_empty());
    trial.finish().await;
}

/// An image that the engine does not hold makes no workload.
pub async fn a_missing_image_is_not_found(harness: &dyn Harness) {
    let Some(image) = harness.missing_image() else {
        return does_not_apply("no image is missing to it");
    };
    let trial = Trial::new(harness);
    let spec = WorkloadSpec {
        image: image.clone(),
        ..trial.spec(trial.programs.exit(0))
    };
    let error = trial.try_create(&spec).await.expect_err("a refusal");
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error:?}");
    assert!(error.chain().contains(&image), "{error} names the image");
    trial.finish().await;
}

/// Labels, environment and command come back as they were given.
pub async fn labels_and_environment_are_kept(harness: &dyn Harness) {
    let trial = Trial::new(harness);
    let spec = trial
        .spec(trial.programs.exit(0))
        .with_label("longshore.test", "a=b c")
        .with_env("GREETING=good day");
    let id = trial.try_create(&spec).await.expect("create");
    let workload = trial.engine.inspect(&id).await.expect("inspect");
    assert_eq!(workload.labels.get("longshore.test"), Some("a=b c"));
    assert_eq!(workload.image, spec.image);
    let detail = workload.detail.expect("an inspection has the detail");
    assert!(detail.env.iter().any(|pair| pair == "GREETING=good day"));
    let listed = trial.engine.list(&ListFilter::id(id)).await.expect("list");
    assert_eq!(listed[0].labels.get("longshore.test"), Some("a=b c"));
    trial.finish().await;
}

/// Every call says the same of an id that nobody has.
pub async fn an_unknown_id_is_not_found_anywhere(harness: &dyn Harness) {
    let trial = Trial::new(harness);
    let engine = &trial.engine;
    let id = &WorkloadId::new("0123456789abcdef".repeat(4)).expect("a valid id");
    check(engine.start(id).await);
    check(engine.stop(id, Duration::from_secs(1)).await);
    check(engine.kill(id, Signal::KILL).await);
    check(
        engine
            .remove(id, RemoveOptions::default().with_force())
            .await,
    );
    check(engine.rename(id, &trial.name()).await);
    check(engine.inspect(id).await);
    check(trial.within(engine.wait(id)).await);
    check(engine.logs(id, &LogOptions::default()).await.map(|_| ()));
    check(engine.stats(id).await);
    trial.finish().await;
}

#[track_caller]
fn check<T: Debug>(result: Result<T, Error>) {
    let error = result.expect_err("a refusal");
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error:?}");
}
