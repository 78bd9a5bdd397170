//! Whatever connections do, a session stays within its bounds.
//!
//! Pairs of bytes: what happens, and to whom or how much.
#![no_main]

use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use longshore_core::{OutputKind, Timestamp};
use longshore_exec::session::{Role, SessionCore, SessionOptions, ViewerEvent, ViewerId};

fuzz_target!(|bytes: &[u8]| {
    let options = SessionOptions::default().with_log(10_000).with_history(500).with_input(2_000).with_viewers(4);
    let mut now = Timestamp::from_secs(1);
    let mut core = SessionCore::new(options, now);
    let mut ids: Vec<(ViewerId, Option<u64>)> = Vec::new();
    for pair in bytes.chunks_exact(2) {
        let (what, value) = (pair[0], pair[1]);
        let place = usize::from(value) % ids.len().max(1);
        let id = ids.get(place).map(|(id, _)| *id);
        match (what % 12, id) {
            (0, _) => core.started(),
            (1, _) => {
                let role = [Role::Writer, Role::Watcher, Role::Approver][usize::from(value % 3)];
                let from = (value > 100).then(|| u64::from(value) * 50);
                ids.extend(core.attach(role, from, now).map(|id| (id, None)));
            }
            (2, Some(id)) => {
                core.detach(id, now);
                ids.remove(place);
            }
            (3, Some(id)) => {
                let offset = (value % 2 == 0).then(|| u64::from(value) << (value % 60));
                let _ = core.receive(id, offset, vec![value; 100].into(), now);
            }
            (4, Some(id)) => drop(core.end_input(id, Some(u64::from(value)))),
            (5, Some(id)) => drop(core.acknowledge(id, u64::from(value) * 100, now)),
            (6, Some(id)) => core.set_paused(id, value % 2 == 0),
            (7, Some(id)) => while let Some(event) = core.poll_event(id, now) {
                // What is told is told in order.
                let next = &mut ids[place].1;
                match event {
                    ViewerEvent::Output { offset, bytes, .. } => {
                        assert!(next.is_none_or(|next| next == offset));
                        *next = Some(offset + bytes.len() as u64);
                    }
                    ViewerEvent::Gap { from, to, .. } => {
                        assert!(next.is_none_or(|next| next == from));
                        *next = Some(to);
                    }
                    _ => {}
                }
            },
            (8, _) => {
                let room = core.output_room();
                core.output(OutputKind::Stdout, &vec![value; room], now);
            }
            (9, _) => {
                now = now.after(Duration::from_secs(u64::from(value)));
                core.handle_deadline(now);
            }
            (10, Some(id)) => drop(core.grant(id, ids[0].0)),
            _ => while core.poll_action().is_some() {},
        }
        assert!(core.kept() <= options.log + options.history + options.input + (16 << 10));
    }
});
