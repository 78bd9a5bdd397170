//! Whatever happens in whatever order: nothing lost, nothing doubled, nothing unbounded.

use std::time::Duration;

use bytes::Bytes;
use longshore_core::{ExitStatus, OutputKind, TerminalSize, Timestamp};
use proptest::prelude::*;

use crate::session::{
    Action, EndReason, RecordReach, Role, SessionCore, SessionOptions, ViewerEvent, ViewerId,
    WhileDetached,
};

#[derive(Clone, Debug)]
enum Deed {
    /// The process prints as much as it may, at most so much.
    Print(bool, usize),
    Read(usize),
    /// A client sends input again from so many bytes ago.
    Type(usize, usize),
    /// Events for a client: how many, and whether it acknowledges.
    Poll(usize, usize, bool),
    /// The writer's connection is cut; its client comes back with what it has.
    Cut,
    Return,
    Watch,
    Leave(usize),
    /// The right to write goes to one who looks on, by its owner or, while that is away, from outside.
    Lend(usize),
    TakeBack,
    Resize(u16),
    Wait(u64),
}

fn deeds() -> impl Strategy<Value = Vec<Deed>> {
    let deed = prop_oneof![
        4 => (any::<bool>(), 1usize..5000).prop_map(|(error, bytes)| Deed::Print(error, bytes)),
        3 => (1usize..3000).prop_map(Deed::Read),
        3 => (0usize..2000, 0usize..50).prop_map(|(bytes, again)| Deed::Type(bytes, again)),
        6 => (0usize..4, 1usize..12, any::<bool>()).prop_map(|(who, events, ack)| Deed::Poll(who, events, ack)),
        1 => Just(Deed::Cut),
        2 => Just(Deed::Return),
        1 => Just(Deed::Watch),
        1 => (0usize..3).prop_map(Deed::Leave),
        1 => (0usize..3).prop_map(Deed::Lend),
        1 => Just(Deed::TakeBack),
        1 => (0u16..300).prop_map(Deed::Resize),
        1 => (0u64..2000).prop_map(Deed::Wait),
    ];
    prop::collection::vec(deed, 1..200)
}

/// A client that remembers what it has seen, across its connections.
struct Client {
    id: Option<ViewerId>,
    want: u64,
    end: Option<EndReason>,
    writes: bool,
    gaps: u64,
}

struct World {
    core: SessionCore,
    options: SessionOptions,
    now: Timestamp,
    printed: Vec<(OutputKind, u8)>,
    typed: Vec<u8>,
    read: Vec<u8>,
    /// Being written to the process.
    writing: usize,
    clients: Vec<Client>,
    /// Who has the right to write instead of the owner.
    lent: Option<ViewerId>,
    asked: Option<TerminalSize>,
    /// Of so much output there is a record, from which the writer takes what it missed; and whether
    /// it has room all the same, for what does not follow on that.
    record: Option<(usize, bool)>,
}

impl World {
    fn recorded(options: SessionOptions, record: usize, has_hole: bool) -> Self {
        Self {
            record: Some((record, has_hole)),
            ..Self::new(options)
        }
    }

    fn new(options: SessionOptions) -> Self {
        let now = Timestamp::from_secs(1_000);
        let mut core = SessionCore::new(options, now);
        core.started();
        Self {
            core,
            options,
            now,
            printed: Vec::new(),
            typed: Vec::new(),
            read: Vec::new(),
            writing: 0,
            clients: vec![Client {
                id: None,
                want: 0,
                end: None,
                writes: true,
                gaps: 0,
            }],
            lent: None,
            asked: None,
            record: None,
        }
    }

    fn act(&mut self, deed: &Deed) {
        match deed {
            Deed::Print(error, most) => {
                let room = self.core.output_room().min(*most);
                let kind = if *error {
                    OutputKind::Stderr
                } else {
                    OutputKind::Stdout
                };
                let start = self.printed.len();
                let bytes: Vec<u8> = (start..start + room)
                    .map(|at| (at * 7 % 251) as u8)
                    .collect();
                if let Some((record, has_hole)) = self.record {
                    let all = start + bytes.len();
                    let reach = RecordReach::new(
                        all.min(record) as u64,
                        if all < record || has_hole { 1 << 20 } else { 0 },
                    );
                    self.core.recorded(Some(reach));
                }
                self.core.output(kind, &bytes, self.now);
                self.printed
                    .extend(bytes.into_iter().map(|byte| (kind, byte)));
            }
            Deed::Read(most) => {
                self.core.input_written(std::mem::take(&mut self.writing));
                if let Some(bytes) = self.core.take_input(*most) {
                    self.writing = bytes.len();
                    self.read.extend_from_slice(&bytes);
                }
            }
            Deed::Type(bytes, again) => {
                if let Some(heir) = self.lent {
                    // Behind whatever was typed before.
                    let start = self.typed.len();
                    let end = start + bytes.min(&self.core.input_room());
                    let piece: Vec<u8> = (start..end).map(|at| (at * 11 % 253) as u8).collect();
                    let new = self
                        .core
                        .receive(heir, None, piece.clone().into(), self.now);
                    assert_eq!(new.unwrap().len(), piece.len());
                    self.typed.extend(piece);
                }
                let Some(id) = self.clients[0].id else { return };
                if self.lent.is_some() {
                    let new = self
                        .core
                        .receive(id, None, Bytes::from_static(b"no"), self.now);
                    assert_eq!(new.unwrap().len(), 0);
                    return;
                }
                let start = self.typed.len().saturating_sub(*again);
                let end = self.typed.len() + bytes.min(&self.core.input_room());
                let piece: Vec<u8> = (start..end).map(|at| (at * 11 % 253) as u8).collect();
                let new = self
                    .core
                    .receive(id, Some(start as u64), piece.clone().into(), self.now);
                assert_eq!(new.unwrap().len(), end - self.typed.len());
                self.typed.truncate(start);
                self.typed.extend(piece);
            }
            Deed::Poll(who, events, acknowledges) => {
                let who = who % self.clients.len();
                for _ in 0..*events {
                    if !self.poll(who, *acknowledges) {
                        break;
                    }
                }
            }
            Deed::Cut => {
                if let Some(id) = self.clients[0].id.take() {
                    self.core.detach(id, self.now);
                }
            }
            Deed::Return => {
                // A second connection takes over as well.
                let want = self.clients[0].want;
                let Ok(id) = self.core.attach(Role::Writer, Some(want), self.now) else {
                    return;
                };
                self.lent = None;
                if self.record.is_some() {
                    self.core.accept_refills(id);
                }
                if let Some(old) = self.clients[0].id.replace(id) {
                    let told = self.core.poll_event(old, self.now);
                    assert_eq!(told, Some(ViewerEvent::Superseded));
                    assert!(self.core.poll_event(old, self.now).is_none());
                    self.core.detach(old, self.now);
                    assert!(self.core.has_writer());
                }
            }
            Deed::Watch => {
                if let Ok(id) = self.core.attach(Role::Watcher, None, self.now) {
                    let want = self.core.output_range().0;
                    self.clients.push(Client {
                        id: Some(id),
                        want,
                        end: None,
                        writes: false,
                        gaps: 0,
                    });
                }
            }
            Deed::Leave(who) => {
                let watchers = self.clients.len() - 1;
                if watchers > 0 {
                    let client = self.clients.remove(1 + who % watchers);
                    self.core.detach(client.id.unwrap(), self.now);
                    self.lent = self.lent.filter(|heir| client.id != Some(*heir));
                }
            }
            Deed::Lend(who) => {
                let watchers = self.clients.len() - 1;
                if watchers > 0 {
                    let to = self.clients[1 + who % watchers].id.unwrap();
                    match self.clients[0].id {
                        Some(owner) => self.core.grant(owner, to).unwrap(),
                        None => self.core.grant_from_outside(to).unwrap(),
                    }
                    self.lent = Some(to);
                }
            }
            Deed::TakeBack => {
                if let Some(owner) = self.clients[0].id {
                    self.core.take_back(owner).unwrap();
                    self.lent = None;
                }
            }
            Deed::Resize(columns) => {
                if let Some(id) = self.clients[0].id.filter(|_| self.lent.is_none()) {
                    let size = TerminalSize::new(*columns, 24);
                    self.core.resize(id, size);
                    if *columns > 0 {
                        self.asked = Some(size);
                    }
                }
            }
            Deed::Wait(millis) => self.now = self.now.after(Duration::from_millis(*millis)),
        }
        let bound = self.options.log + self.options.history + self.options.input + (16 << 10);
        assert!(self.core.kept() <= bound, "{} > {bound}", self.core.kept());
    }

    fn poll(&mut self, who: usize, acknowledges: bool) -> bool {
        let lossless = self.options.detached == WhileDetached::Lossless;
        let writer = self.lent.or(self.clients[0].id);
        let client = &mut self.clients[who];
        let Some(id) = client.id else { return false };
        match self.core.poll_event(id, self.now) {
            Some(ViewerEvent::Output {
                offset,
                kind,
                bytes,
            }) => {
                assert_eq!(offset, client.want, "the output is in order");
                assert!(!bytes.is_empty());
                for byte in bytes {
                    assert_eq!(self.printed[client.want as usize], (kind, byte));
                    client.want += 1;
                }
                if acknowledges {
                    self.core.acknowledge(id, client.want, self.now).unwrap();
                }
            }
            Some(ViewerEvent::Gap { from, to, .. }) => {
                if client.writes && lossless {
                    let (record, _) = self.record.expect("a writer misses nothing");
                    assert!(to as usize <= record, "what it missed is in the record");
                }
                assert_eq!(from, client.want);
                assert!(to > from);
                client.gaps += to - from;
                client.want = to;
            }
            Some(ViewerEvent::InputTaken(offset)) => {
                assert_eq!(client.id, writer);
                assert_eq!(offset as usize, self.read.len() - self.writing);
            }
            Some(ViewerEvent::Ended(end)) => {
                assert_eq!(
                    client.want as usize,
                    self.printed.len(),
                    "the end is told last"
                );
                client.end = Some(end.reason);
            }
            Some(ViewerEvent::Ending(_)) => assert!(client.end.is_none(), "it has not ended"),
            Some(ViewerEvent::Notice(_) | ViewerEvent::People(_)) => {}
            Some(ViewerEvent::Snapshot { .. }) => panic!("nobody asked for one"),
            Some(ViewerEvent::Superseded) => panic!("only old connections are superseded"),
            None => {
                // Nothing to tell although something is left: only for want of acknowledgements.
                if client.end.is_none() && acknowledges {
                    self.core.acknowledge(id, client.want, self.now).unwrap();
                }
                return false;
            }
        }
        true
    }

    /// Everybody takes everything, and the process ends.
    fn finish(mut self) {
        if self.clients[0].id.is_none() {
            self.act(&Deed::Return);
        }
        while self.read.len() < self.typed.len() {
            self.act(&Deed::Read(1 << 20));
        }
        self.act(&Deed::Read(1));
        assert_eq!(self.read, self.typed);
        let mut last = None;
        while let Some(action) = self.core.poll_action() {
            if let Action::Resize(size) = action {
                last = Some(size);
            }
        }
        assert_eq!(last, self.asked, "the newest size wins");
        self.core.exited(ExitStatus::exited(3), self.now);
        self.core.output_ended(self.now);
        for who in 0..self.clients.len() {
            for _ in 0..2 {
                while self.poll(who, true) {}
            }
            assert_eq!(self.clients[who].end, Some(EndReason::Exited));
        }
        assert_eq!(self.core.end().unwrap().code, Some(3));
        self.core.release(self.clients[0].id.unwrap(), self.now);
        assert!(self.core.is_over(self.now));
    }
}

fn small() -> SessionOptions {
    SessionOptions::default()
        .with_log(10_000)
        .with_history(500)
        .with_input(2_000)
        .with_viewers(4)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..Default::default() })]

    #[test]
    fn a_lossless_session_loses_and_doubles_nothing(deeds in deeds()) {
        let mut world = World::new(small());
        for deed in &deeds {
            world.act(deed);
        }
        world.finish();
    }

    /// Also where the record breaks off at any place.
    #[test]
    fn a_recorded_session_loses_nothing_that_is_not_in_its_record(deeds in deeds(), record in 0usize..60_000, has_hole in any::<bool>()) {
        let mut world = World::recorded(small(), record, has_hole);
        for deed in &deeds {
            world.act(deed);
        }
        world.finish();
    }

    #[test]
    fn a_live_session_tells_every_gap(deeds in deeds()) {
        let mut world = World::new(small().with_detached(WhileDetached::Live));
        for deed in &deeds {
            world.act(deed);
        }
        world.finish();
    }

    /// The entry of the fuzz target, for machines without a fuzzer: hostile connections.
    #[test]
    fn hostile_connections_leave_a_bounded_session(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        hostile(&bytes);
    }
}

/// Connections that do what they please.
fn hostile(bytes: &[u8]) {
    let mut options = small();
    options.moderated = bytes.len() % 2 == 1;
    let mut now = Timestamp::from_secs(1);
    let mut core = SessionCore::new(options, now);
    let mut ids: Vec<ViewerId> = Vec::new();
    for pair in bytes.chunks_exact(2) {
        let (what, value) = (pair[0], pair[1]);
        let id = ids.get(usize::from(value) % ids.len().max(1)).copied();
        match (what % 17, id) {
            (0, _) => core.started(),
            (1, _) => {
                let role = [Role::Writer, Role::Watcher, Role::Approver][usize::from(value % 3)];
                let from = (value > 100).then(|| u64::from(value) * 50);
                ids.extend(core.attach(role, from, now));
                ids.iter().for_each(|id| core.accept_people(*id));
            }
            (2, Some(id)) => core.detach(id, now),
            (3, Some(id)) => {
                let offset = (value % 2 == 0).then(|| u64::from(value) << (value % 60));
                let _ = core.receive(id, offset, Bytes::from(vec![value; 100]), now);
            }
            (4, Some(id)) => drop(core.end_input(id, Some(u64::from(value)))),
            (5, Some(id)) => drop(core.acknowledge(id, u64::from(value) * 100, now)),
            (6, Some(id)) => core.set_paused(id, value % 2 == 0),
            (7, Some(id)) => while core.poll_event(id, now).is_some() {},
            (8, _) => {
                let room = core.output_room();
                core.output(OutputKind::Stdout, &vec![value; room], now);
            }
            (9, _) => {
                now = now.after(Duration::from_secs(u64::from(value)));
                core.handle_deadline(now);
            }
            (10, Some(id)) => drop(core.grant(id, ids[usize::from(what / 17) % ids.len()])),
            (13, Some(id)) => drop(core.take_back(id)),
            (14, Some(id)) => core.only_looks(id),
            (15, Some(id)) => drop(core.grant_from_outside(id)),
            (11, Some(id)) if value > 250 => core.release(id, now),
            (12, _) => drop(core.take_input(usize::from(value))),
            _ => while core.poll_action().is_some() {},
        }
        assert!(core.kept() <= options.log + options.history + options.input + (16 << 10));
        let here = core.connections().into_iter();
        let writers = here.filter(|(_, role)| *role == Role::Writer).count();
        assert_eq!(writers, usize::from(core.has_writer()));
        if let Some(deadline) = core.next_deadline(now) {
            // A deadline that has passed is dealt with by saying so.
            if deadline <= now {
                core.handle_deadline(now);
            }
        }
    }
}
