//! What a manager that does not lead, or leads no more, can do to nodes (rule L2).

use std::time::Duration;

use longshore_core::{
    BoxByteStream, Carrier, ErrorKind, IncomingStream, Leader, ListFilter, NodeHealth, PullOptions,
    RemoveOptions, Signal, WorkloadSpec, testkit::ManualElection,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    sync::mpsc,
};

use crate::{
    cluster::Cluster,
    tunnels::{Agent, add, listener, say, tunnel_cluster},
};

/// Whatever the engine is and however it is reached: who does not lead looks and changes nothing.
#[tokio::test(start_paused = true)]
async fn l2_a_manager_that_does_not_lead_changes_no_engine() {
    let election = ManualElection::new(Leader::Here { token: 1 });
    let cluster = Cluster::electing(1, &election).await;
    let engine = cluster.plane.node("node-1").unwrap().engine.unwrap();
    let spec = WorkloadSpec::new("busybox");
    let id = engine.create(&spec).await.unwrap();
    let calls = || {
        let of = |what| cluster.engine(1).calls(what);
        [
            "create", "start", "stop", "kill", "remove", "rename", "pull",
        ]
        .map(of)
    };
    let before = calls();
    for (leader, kind) in [
        (Leader::Elsewhere("10.0.0.9:1".to_owned()), ErrorKind::Stale),
        (Leader::Nobody, ErrorKind::Unavailable),
    ] {
        election.set(leader);
        let name = "b".parse().unwrap();
        for refused in [
            engine.create(&spec).await.map(drop),
            engine.start(&id).await,
            engine.stop(&id, Duration::ZERO).await,
            engine.kill(&id, Signal::KILL).await,
            engine.remove(&id, RemoveOptions::default()).await,
            engine.rename(&id, &name).await,
            engine
                .pull("busybox", &PullOptions::default())
                .await
                .map(drop),
        ] {
            assert_eq!(refused.unwrap_err().kind(), kind);
        }
        engine.inspect(&id).await.unwrap();
        assert_eq!(engine.list(&ListFilter::all()).await.unwrap().len(), 1);
    }
    assert_eq!(calls(), before);
    election.set(Leader::Here { token: 2 });
    engine.start(&id).await.unwrap();
}

/// An agent that beats, tells what is asked of it, and keeps no stream.
fn telling(agent: Agent) -> mpsc::UnboundedReceiver<IncomingStream> {
    let (tell, told) = mpsc::unbounded_channel();
    let (carrier, mut control) = (agent.carrier, agent.control);
    tokio::spawn(async move {
        let mut beat = tokio::time::interval(Duration::from_secs(5));
        loop {
            tokio::select! {
                stream = carrier.accept() => match stream {
                    Ok(stream) => drop(tell.send(stream)),
                    Err(_) => return,
                },
                _ = beat.tick() => say(&mut control, &serde_json::json!({"type": "beat"})).await,
            }
        }
    });
    told
}

/// The next stream of this kind; all before it only looked.
async fn asked(told: &mut mpsc::UnboundedReceiver<IncomingStream>, kind: &str) -> BoxByteStream {
    loop {
        let next = tokio::time::timeout(Duration::from_secs(120), told.recv()).await;
        let stream = next.expect("a stream is opened").unwrap();
        match stream.target.to_string() {
            target if target == kind => return stream.stream,
            target => assert_eq!(target, "observe:engine", "while {kind} is waited for"),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn l2_streams_to_a_node_say_whether_they_look_or_act_and_by_which_token() {
    let election = ManualElection::new(Leader::Elsewhere("10.0.0.9:1".to_owned()));
    let (dialler, listener) = listener();
    let cluster = Cluster::electing_with(&election, vec![listener]);
    cluster.plane.start();
    add(&cluster, "edge-1");
    let mut told = telling(dialler.join("edge-1", 1).await);
    cluster.until_health("edge-1", NodeHealth::Healthy).await;
    let engine = cluster.plane.node("edge-1").unwrap().engine.unwrap();
    while let Ok(stream) = told.try_recv() {
        assert_eq!(stream.target.to_string(), "observe:engine");
    }
    let connector = engine.connector();
    let mut opened = connector.connect().await.unwrap();
    let _looking = asked(&mut told, "observe:engine").await;

    // The node hears of the new leader before that one does anything.
    election.set(Leader::Here { token: 7 });
    drop(asked(&mut told, "act:7:engine").await);
    // A connection to look is not kept to act through.
    let over = opened.read(&mut [0]).await.unwrap_err();
    assert!(over.to_string().contains("is over"), "{over}");
    let mut opened = connector.connect().await.unwrap();
    let mut seen = asked(&mut told, "act:7:engine").await;
    opened.write_all(b"ping").await.unwrap();
    let mut four = [0; 4];
    seen.read_exact(&mut four).await.unwrap();
    assert_eq!(&four, b"ping");

    // Nobody leads for a while: that is no other leadership.
    election.set(Leader::Nobody);
    seen.write_all(b"pong").await.unwrap();
    opened.read_exact(&mut four).await.unwrap();
    assert_eq!(&four, b"pong");
    election.set(Leader::Here { token: 9 });
    let over = opened.read(&mut [0]).await.unwrap_err();
    assert!(over.to_string().contains("is over"), "{over}");
    drop(asked(&mut told, "act:9:engine").await);

    // A node that dials in again is told again.
    let mut told = telling(dialler.join("edge-1", 2).await);
    drop(asked(&mut told, "act:9:engine").await);
}

#[tokio::test(start_paused = true)]
async fn a_manager_without_an_election_carries_no_token() {
    let (cluster, dialler) = tunnel_cluster();
    add(&cluster, "edge-1");
    let mut told = telling(dialler.join("edge-1", 1).await);
    cluster.until_health("edge-1", NodeHealth::Healthy).await;
    let engine = cluster.plane.node("edge-1").unwrap().engine.unwrap();
    let _opened = engine.connector().connect().await.unwrap();
    drop(asked(&mut told, "engine").await);
    while let Ok(stream) = told.try_recv() {
        assert_eq!(stream.target.to_string(), "engine");
    }
}
