//! Whoever misses output is shown the screen, if it asks for that.

use bytes::Bytes;
use longshore_core::{OutputKind, TerminalSize, Timestamp};

use crate::session::{
    GapCause, Role, Screen, SessionCore, SessionOptions, ViewerEvent, WhileDetached,
};

const START: Timestamp = Timestamp::from_secs(1_000);

/// Counts.
#[derive(Debug, Default)]
struct Counter {
    bytes: usize,
    size: Option<TerminalSize>,
}

impl Screen for Counter {
    fn output(&mut self, bytes: &[u8]) {
        self.bytes += bytes.len();
    }

    fn resize(&mut self, size: TerminalSize) {
        self.size = Some(size);
    }

    fn redraw(&mut self) -> Bytes {
        format!(
            "{} bytes, {:?}",
            self.bytes,
            self.size.map(|size| size.columns)
        )
        .into()
    }
}

fn core() -> SessionCore {
    let options = SessionOptions::default()
        .with_log(1024)
        .with_history(10)
        .with_detached(WhileDetached::Live);
    let mut core = SessionCore::new(options, START).with_screen(Box::<Counter>::default());
    core.started();
    core
}

fn output(core: &mut SessionCore, bytes: usize) {
    core.output(OutputKind::Stdout, &vec![b'x'; bytes], START);
}

fn events(core: &mut SessionCore, id: crate::session::ViewerId) -> Vec<ViewerEvent> {
    let mut told: Vec<_> = std::iter::from_fn(|| core.poll_event(id, START)).collect();
    told.retain(|event| !matches!(event, ViewerEvent::Notice(_)));
    told
}

fn snapshot(offset: u64, text: &'static str) -> ViewerEvent {
    ViewerEvent::Snapshot {
        offset,
        bytes: Bytes::from_static(text.as_bytes()),
    }
}

#[test]
fn who_looks_on_is_shown_the_screen_first() {
    let mut core = core();
    output(&mut core, 700);
    let late = core.attach(Role::Watcher, None, START).unwrap();
    core.accept_snapshots(late);
    assert_eq!(events(&mut core, late), [snapshot(700, "700 bytes, None")]);
    output(&mut core, 3);
    let told = events(&mut core, late);
    assert!(
        matches!(&told[..], [ViewerEvent::Output { offset: 700, bytes, .. }] if bytes.len() == 3),
        "{told:?}"
    );
    core.acknowledge(late, 703, START).unwrap();
    assert!(core.acknowledge(late, 704, START).is_err());
}

#[test]
fn a_writer_is_shown_the_screen_behind_a_gap_only() {
    let mut core = core();
    let writer = core.attach(Role::Writer, Some(0), START).unwrap();
    core.accept_snapshots(writer);
    output(&mut core, 5);
    assert_eq!(
        events(&mut core, writer).len(),
        1,
        "output, and nothing else"
    );
    core.resize(writer, TerminalSize::new(33, 9));
    core.poll_action();
    core.detach(writer, START);
    output(&mut core, 5000);
    let back = core.attach(Role::Writer, Some(5), START).unwrap();
    core.accept_snapshots(back);
    let told = events(&mut core, back);
    let base = core.output_range().0;
    let gap = ViewerEvent::Gap {
        from: 5,
        to: base,
        cause: GapCause::Trimmed,
    };
    assert!(base > 5);
    assert_eq!(told, [gap, snapshot(5005, "5005 bytes, Some(33)")]);
}

#[test]
fn who_does_not_ask_gets_the_bytes() {
    let mut core = core();
    output(&mut core, 700);
    let late = core.attach(Role::Watcher, None, START).unwrap();
    let told = events(&mut core, late);
    assert!(
        told.iter()
            .all(|event| matches!(event, ViewerEvent::Output { .. })),
        "{told:?}"
    );
    let mut plain = SessionCore::new(SessionOptions::default(), START);
    let watcher = plain.attach(Role::Watcher, None, START).unwrap();
    plain.accept_snapshots(watcher);
    output(&mut plain, 5);
    assert!(
        matches!(
            events(&mut plain, watcher)[..],
            [ViewerEvent::Output { .. }]
        ),
        "there is no screen"
    );
}

#[test]
fn who_looks_on_is_shown_the_screen_again_at_a_new_size() {
    let mut core = core();
    let writer = core.attach(Role::Writer, Some(0), START).unwrap();
    let watcher = core.attach(Role::Watcher, None, START).unwrap();
    for id in [writer, watcher] {
        core.accept_snapshots(id);
    }
    assert_eq!(events(&mut core, watcher), [snapshot(0, "0 bytes, None")]);
    core.resize(writer, TerminalSize::new(70, 9));
    core.poll_action();
    assert_eq!(
        events(&mut core, watcher),
        [snapshot(0, "0 bytes, Some(70)")]
    );
    assert_eq!(events(&mut core, writer), []);
}
