//! Runs the machine on a socket. It decides nothing.

use std::sync::Arc;

use tokio::net::UdpSocket;

use super::{Core, seal, wire::Message};

pub(super) async fn run(core: Arc<Core>, socket: UdpSocket) {
    let mut buffer = vec![0; seal::LARGEST + 1];
    loop {
        let (datagrams, deadline) = step(&core);
        for (to, datagram) in datagrams {
            // A datagram that can't be sent is one that was lost.
            if let Err(error) = socket.send_to(&datagram, to).await {
                tracing::debug!(%error, %to, "a gossip datagram was not sent");
            }
        }
        tokio::select! {
            received = socket.recv_from(&mut buffer) => match received {
                Ok((length, from)) => {
                    let now = core.clock.now();
                    let mut state = core.lock();
                    let opened = state.sealer.open(&buffer[..length], now);
                    // One that is malformed changes nothing.
                    if let Some(Ok(message)) = opened.map(|data| Message::decode(&data)) {
                        state.machine.handle(from, message, now);
                    }
                }
                // An earlier datagram found nobody, for example.
                Err(error) => tracing::debug!(%error, "receiving gossip failed"),
            },
            () = core.clock.sleep_until(deadline) => {}
            () = core.work.notified() => {}
        }
    }
}

type Datagrams = Vec<(std::net::SocketAddr, Vec<u8>)>;

/// What is due now, sealed; and when something is due next.
fn step(core: &Core) -> (Datagrams, longshore_core::Timestamp) {
    let now = core.clock.now();
    let mut state = core.lock();
    let before = state.machine.changes();
    state.own.expire(now);
    let payload = state.own.payload();
    state.machine.set_payload(payload);
    state.machine.tick(now);
    let mut datagrams = Vec::new();
    while let Some((to, message)) = state.machine.poll_transmit() {
        if let Ok(datagram) = state.sealer.seal(&message.encode(), now) {
            datagrams.push((to, datagram));
        }
    }
    let expiry = state.own.next_deadline();
    let deadline = state.machine.next_deadline();
    let changed = state.view.is_behind(&state.machine) || before != state.machine.changes();
    drop(state);
    if changed {
        core.changes.send_modify(|count| *count += 1);
    }
    (datagrams, expiry.map_or(deadline, |at| at.min(deadline)))
}
