//! Agents that mean harm, and those who are none: bounded before and after the welcome.

use std::{sync::Arc, time::Duration};

use longshore_control::{HubOptions, TunnelHub};
use longshore_core::{Carrier, Clock, Shutdown, StreamTarget, SystemClock};
use tokio::io::AsyncWriteExt;

use crate::tunnels::{Dialler, Pending, carriers, listener, say};

fn serving(options: HubOptions) -> (TunnelHub, Dialler, Shutdown) {
    let hub = TunnelHub::with_options(Arc::new(SystemClock::new()), options);
    let (dialler, listener) = listener();
    let shutdown = Shutdown::new();
    let (serving, tree) = (hub.clone(), shutdown.clone());
    shutdown.spawn_until(async move { serving.serve(listener, &tree).await });
    (hub, dialler, shutdown)
}

#[tokio::test(start_paused = true)]
async fn who_has_proved_nothing_holds_no_place_of_those_who_did() {
    let options = HubOptions::default()
        .with_max_handshakes(1)
        .with_max_unproven(10)
        .with_handshake_timeout(Duration::from_secs(3600));
    let (_hub, dialler, _shutdown) = serving(options);
    let mut silent = Vec::new();
    let mut knock = async |count: usize| {
        for number in 0..count {
            let (near, far) = carriers(&format!("unproven-{number}"));
            let pending = Pending(near, Duration::from_secs(3000));
            dialler.0.send(pending).await.unwrap();
            silent.push(far);
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
        silent.last().unwrap().open(&StreamTarget::Control).await
    };
    assert!(knock(9).await.is_ok());
    assert_eq!(dialler.join("edge-1", 1).await.answer["type"], "welcome");
    // The excess is closed at once and waits for nothing.
    assert!(knock(2).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn one_node_does_not_take_all_the_places_before_the_welcome() {
    let (_hub, dialler, _shutdown) = serving(HubOptions::default().with_max_handshakes(8));
    let mut silent = Vec::new();
    for _ in 0..20 {
        let (near, far) = carriers("greedy");
        dialler.0.send(Pending(near, Duration::ZERO)).await.unwrap();
        silent.push(far);
    }
    assert_eq!(dialler.join("edge-1", 1).await.answer["type"], "welcome");
    let refused = silent.iter().filter_map(|carrier| carrier.reason());
    let refused: Vec<_> = refused.collect();
    assert_eq!(refused.len(), 16);
    assert_eq!(
        refused[0],
        "4 connections of this node wait for their welcome already"
    );
}

#[tokio::test(start_paused = true)]
async fn an_epoch_far_ahead_is_refused() {
    let (hub, dialler, _shutdown) = serving(HubOptions::default());
    let now = SystemClock::new().now();
    let day = Duration::from_secs(24 * 60 * 60);
    let limit = now.after(day + Duration::from_secs(600)).as_micros();
    for epoch in [u64::MAX, limit] {
        let agent = dialler.join("edge-1", epoch).await;
        assert_eq!(agent.answer["type"], "refused");
        let reason = agent.answer["reason"].as_str().unwrap();
        assert!(reason.contains("is more than a day ahead"), "{reason}");
    }
    assert!(hub.sessions().is_empty());
    let agent = dialler.join("edge-1", now.as_micros()).await;
    assert_eq!(agent.answer["type"], "welcome");
}

#[tokio::test(start_paused = true)]
async fn an_agent_that_talks_without_end_is_cut_off() {
    for frame in [
        serde_json::json!({"type": "beat"}),
        serde_json::json!({"type": "status", "engine": "down", "error": "x"}),
    ] {
        let (hub, dialler, _shutdown) = serving(HubOptions::default());
        let mut agent = dialler.join("edge-1", 1).await;
        let mut bytes = Vec::new();
        for _ in 0..200 {
            let json = frame.to_string();
            bytes.extend_from_slice(&(json.len() as u32).to_be_bytes());
            bytes.extend_from_slice(json.as_bytes());
        }
        let _ = agent.control.write_all(&bytes).await;
        let reason = agent.carrier.closed().await.to_string();
        assert!(
            reason.contains("its agent said more than 20 things a second"),
            "{reason}"
        );
        tokio::time::sleep(Duration::from_millis(1)).await;
        assert!(!hub.sessions()[0].live);
    }
}

#[tokio::test(start_paused = true)]
async fn what_an_agent_says_forges_no_log_line() {
    let forged = "bye\n2026-01-01T00:00:00Z  INFO Registered Engine FAKE\u{1b}[2J\u{202e}\u{9b}31m";
    let (hub, dialler, _shutdown) = serving(HubOptions::default());
    let hello = serde_json::json!({
        "type": "hello", "version": 1, "name": forged, "epoch": 1, "agent": forged,
        "labels": {"zone": "eu", "a": forged, forged: "b"},
    });
    let mut agent = dialler.dial("edge-1", hello).await;
    let status = serde_json::json!({"type": "status", "engine": "down", "error": forged});
    say(&mut agent.control, &status).await;
    tokio::time::sleep(Duration::from_millis(1)).await;
    let live = hub.sessions().remove(0);
    assert_eq!(live.labels.iter().collect::<Vec<_>>(), [("zone", "eu")]);
    say(
        &mut agent.control,
        &serde_json::json!({"type": "bye", "reason": forged}),
    )
    .await;
    tokio::time::sleep(Duration::from_millis(1)).await;
    let ended = hub.sessions().remove(0).ended.unwrap();
    assert!(
        ended.starts_with("its agent said bye: bye\\u{a}2026"),
        "{ended}"
    );
    for text in [live.name, live.agent, live.engine_error.unwrap(), ended] {
        assert!(longshore_core::is_printable(&text), "{text:?}");
    }

    let (near, far) = carriers("edge-2");
    dialler.0.send(Pending(near, Duration::ZERO)).await.unwrap();
    let mut control = far.open(&StreamTarget::Control).await.unwrap();
    say(&mut control, &serde_json::json!({"type": forged})).await;
    let reason = far.closed().await.to_string();
    assert!(reason.contains("is not understood") && longshore_core::is_printable(&reason));
}
