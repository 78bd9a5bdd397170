//! What sessions of other lives left behind.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use longshore_core::{ClockExt, ExecBackend, ExecRequest, OsRandom, testkit::programs::Programs};
use longshore_exec::{CleanupOutcome, DockerExec, GatewayLife, Reaped, Stub};

use super::{InMemory, fresh, id};
use crate::{
    daemon::{ToDaemon, clock},
    programs::Names,
};

/// Another backend to the same engine, as after the node came back.
fn backend(place: &InMemory, life: &GatewayLife) -> DockerExec {
    let connector = Arc::new(ToDaemon(Arc::clone(&place.daemon)));
    DockerExec::new(connector, clock(), Arc::new(OsRandom)).with_gateway(life.clone())
}

fn stubborn() -> ExecRequest {
    ExecRequest::new(id("web"), Names.stubborn())
}

/// A session of this life is dropped, and nothing that ends it works.
async fn leave_one(place: &InMemory, life: &GatewayLife) {
    place.daemon.helpless.store(true, Ordering::SeqCst);
    drop(backend(place, life).exec(&stubborn()).await.unwrap());
    clock().sleep(Duration::from_secs(30)).await;
    place.daemon.helpless.store(false, Ordering::SeqCst);
}

fn outcomes(reaped: &Reaped) -> Vec<&CleanupOutcome> {
    let reports = reaped.reports.iter();
    reports.map(|report| &report.outcome).collect()
}

#[tokio::test(start_paused = true)]
async fn what_another_life_left_is_reaped_and_nobody_who_lives() {
    let place = fresh(4096);
    let before = GatewayLife::begin("gate", &OsRandom);
    leave_one(&place, &before).await;
    let life = GatewayLife::begin("gate", &OsRandom);
    let others = GatewayLife::begin("other", &OsRandom);
    let [one, two, other] = [&life, &life, &others].map(|life| backend(&place, life));
    // Each by a backend of its own, as where a node was lost and found.
    let sessions = [
        one.exec(&stubborn()).await.unwrap(),
        two.exec(&stubborn()).await.unwrap(),
        other.exec(&stubborn()).await.unwrap(),
        place.exec.exec(&stubborn()).await.unwrap(),
    ];
    assert_eq!(place.daemon.running().await, 5);
    let third = backend(&place, &life);
    let reaped = third.reap().await.unwrap();
    assert_eq!(outcomes(&reaped), [&CleanupOutcome::Clean]);
    assert_eq!((reaped.left(), reaped.unanswered.len()), (0, 0));
    assert_eq!(place.daemon.running().await, 4);
    for backend in [&one, &third, &other] {
        assert_eq!(backend.reap().await.unwrap().reports, []);
    }
    assert_eq!(place.daemon.running().await, 4);
    drop(sessions);
}

/// What a life could not end itself it may try again: nobody holds that any more.
#[tokio::test(start_paused = true)]
async fn what_a_life_could_not_end_it_reaps_itself() {
    let place = fresh(4096);
    let life = GatewayLife::unnamed(&OsRandom);
    let held = backend(&place, &life).exec(&stubborn()).await.unwrap();
    leave_one(&place, &life).await;
    assert_eq!(place.daemon.running().await, 2);
    let reaped = backend(&place, &life).reap().await.unwrap();
    assert_eq!(outcomes(&reaped), [&CleanupOutcome::Clean]);
    assert_eq!(place.daemon.running().await, 1);
    assert_eq!(backend(&place, &life).reap().await.unwrap().reports, []);
    drop(held);
}

#[tokio::test(start_paused = true)]
async fn a_container_that_hangs_holds_up_no_other_and_is_named() {
    let place = fresh(4096);
    leave_one(&place, &GatewayLife::begin("gate", &OsRandom)).await;
    *place.daemon.crowd.lock().unwrap() = (12, 10);
    *place.daemon.hanging.lock().unwrap() = vec!["crowd-0".to_owned(), "crowd-7".to_owned()];
    let life = GatewayLife::begin("gate", &OsRandom);
    let reaped = backend(&place, &life).reap().await.unwrap();
    assert_eq!(outcomes(&reaped), [&CleanupOutcome::Clean]);
    assert_eq!(reaped.containers, 13);
    let mut named = reaped.unanswered;
    named.sort_unstable();
    assert_eq!(named, [id("crowd-0"), id("crowd-7")]);
}

/// An engine with ten thousand containers tells of them in megabytes.
#[tokio::test(start_paused = true)]
async fn a_long_list_of_containers_is_read() {
    let place = fresh(1 << 20);
    leave_one(&place, &GatewayLife::begin("gate", &OsRandom)).await;
    *place.daemon.crowd.lock().unwrap() = (3000, 1500);
    let life = GatewayLife::begin("gate", &OsRandom);
    let reaped = backend(&place, &life).reap().await.unwrap();
    assert_eq!(outcomes(&reaped), [&CleanupOutcome::Clean]);
    assert_eq!(reaped.containers, 3001);
}

/// Marks can be forged: a look has an end all the same, and those that follow find the rest.
#[tokio::test(start_paused = true)]
async fn of_many_lost_sessions_some_are_ended_at_a_time() {
    let place = fresh(1 << 20);
    let before = backend(&place, &GatewayLife::begin("gate", &OsRandom));
    place.daemon.helpless.store(true, Ordering::SeqCst);
    for _ in 0..100 {
        drop(before.exec(&stubborn()).await.unwrap());
    }
    clock().sleep(Duration::from_secs(60)).await;
    place.daemon.helpless.store(false, Ordering::SeqCst);
    assert_eq!(place.daemon.running().await, 100);
    let now = backend(&place, &GatewayLife::begin("gate", &OsRandom));
    for (found, more) in [(64, true), (36, false), (0, false)] {
        let reaped = now.reap().await.unwrap();
        assert_eq!((reaped.reports.len(), reaped.left()), (found, 0));
        let named = reaped.unanswered.len();
        assert_eq!(named, usize::from(more));
    }
    assert_eq!(place.daemon.running().await, 0);
}

/// All of them by one container of our own.
#[tokio::test(start_paused = true)]
async fn what_is_lost_in_a_container_is_ended_in_one_go() {
    let place = fresh(1 << 20);
    let before = backend(&place, &GatewayLife::begin("gate", &OsRandom));
    place.daemon.helpless.store(true, Ordering::SeqCst);
    for _ in 0..10 {
        drop(before.exec(&stubborn()).await.unwrap());
    }
    clock().sleep(Duration::from_secs(60)).await;
    place.daemon.helpless.store(false, Ordering::SeqCst);
    place.daemon.sidecars.store(true, Ordering::SeqCst);
    let mut program = b"\x7fELF\x02\x01".to_vec();
    program.resize(64, 0);
    let stub = Stub::new(program).unwrap();
    let now = backend(&place, &GatewayLife::begin("gate", &OsRandom)).with_stub(stub);
    let asked = place.daemon.requests().len();
    let reaped = now.reap().await.unwrap();
    assert_eq!((reaped.reports.len(), reaped.left()), (10, 0));
    let requests = place.daemon.requests();
    let sidecars: Vec<_> = requests[asked..]
        .iter()
        .filter(|(line, _)| line.starts_with("POST /containers/create"))
        .collect();
    assert_eq!(sidecars.len(), 1);
    // The program, its verb, and each mark.
    assert_eq!(sidecars[0].1["Entrypoint"].as_array().unwrap().len(), 12);
}
