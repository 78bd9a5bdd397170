use std::collections::BTreeMap;

use longshore_core::StreamTarget;
use proptest::prelude::*;

use super::{
    super::*,
    pair::{DIALER, LISTENER, Pair},
};

/// What a user may do to one of its streams, or the network to time.
#[derive(Clone, Debug)]
enum Deed {
    Open(usize),
    Write(usize, usize, usize),
    Read(usize, usize, usize),
    Finish(usize, usize),
    Release(usize, usize),
    Pass(u64),
}

fn deeds() -> impl Strategy<Value = Vec<Deed>> {
    let end = 0usize..2;
    let which = 0usize..8;
    let deed = prop_oneof![
        2 => end.clone().prop_map(Deed::Open),
        6 => (end.clone(), which.clone(), 1usize..100_000).prop_map(|(e, w, n)| Deed::Write(e, w, n)),
        6 => (end.clone(), which.clone(), 1usize..100_000).prop_map(|(e, w, n)| Deed::Read(e, w, n)),
        2 => (end.clone(), which.clone()).prop_map(|(e, w)| Deed::Finish(e, w)),
        1 => (end, which).prop_map(|(e, w)| Deed::Release(e, w)),
        4 => (1u64..100_000).prop_map(Deed::Pass),
    ];
    prop::collection::vec(deed, 1..150)
}

/// What one end has written to, and read from, a stream.
#[derive(Default)]
struct Half {
    written: usize,
    read: usize,
    finished: bool,
    gone: bool,
    ended: bool,
}

/// Byte `at` of what `end` writes to stream `id`.
fn byte(end: usize, id: u32, at: usize) -> u8 {
    (at.wrapping_mul(31) ^ (id as usize) ^ (end << 7) ^ (at >> 8)) as u8
}

struct World {
    pair: Pair,
    streams: [BTreeMap<u32, Half>; 2],
}

impl World {
    fn new(seed: u64) -> Self {
        // Small, so that every bound is met.
        let options = MuxOptions {
            max_streams: 4,
            stream_credit: 32 * 1024,
            max_stream_credit: 128 * 1024,
            carrier_credit: 96 * 1024,
            ..Default::default()
        };
        Self {
            pair: Pair::new(options, Duration::from_millis(seed % 50), seed).open_for_business(),
            streams: Default::default(),
        }
    }

    fn pick(&self, end: usize, which: usize) -> Option<u32> {
        let ids: Vec<u32> = self.streams[end]
            .iter()
            .filter(|(_, half)| !half.gone)
            .map(|(id, _)| *id)
            .collect();
        (!ids.is_empty()).then(|| ids[which % ids.len()])
    }

    fn accept(&mut self) {
        for end in [DIALER, LISTENER] {
            while let Some((id, _)) = self.pair.ends[end].accept() {
                self.streams[end].insert(id, Half::default());
            }
        }
    }

    fn act(&mut self, deed: &Deed) {
        match *deed {
            Deed::Open(end) => match self.pair.ends[end].open(&StreamTarget::Engine) {
                Ok(id) => {
                    self.streams[end].insert(id, Half::default());
                }
                Err(OpenError::TooMany { limit }) => assert_eq!(limit, 4),
                Err(error) => panic!("{error:?}"),
            },
            Deed::Write(end, which, length) => {
                if let Some(id) = self.pick(end, which) {
                    self.write(end, id, length);
                }
            }
            Deed::Read(end, which, length) => {
                if let Some(id) = self.pick(end, which) {
                    self.read(end, id, length);
                }
            }
            Deed::Finish(end, which) => {
                if let Some(id) = self.pick(end, which) {
                    let _ = self.pair.ends[end].finish(id);
                    self.streams[end].get_mut(&id).unwrap().finished = true;
                }
            }
            Deed::Release(end, which) => {
                if let Some(id) = self.pick(end, which) {
                    self.pair.ends[end].release(id);
                    self.streams[end].get_mut(&id).unwrap().gone = true;
                }
            }
            Deed::Pass(micros) => self.pair.run(Duration::from_micros(micros)),
        }
        self.accept();
        for mux in &self.pair.ends {
            assert!(mux.is_open(), "{:?}", mux.close_reason());
            assert!(mux.unread_bytes() <= 96 * 1024);
        }
    }

    fn write(&mut self, end: usize, id: u32, length: usize) {
        let half = self.streams[end].get_mut(&id).unwrap();
        let start = half.written;
        let bytes: Vec<u8> = (start..start + length)
            .map(|at| byte(end, id, at))
            .collect();
        if let Ok(taken) = self.pair.ends[end].write(id, &bytes) {
            assert!(!half.finished, "it took bytes after the end");
            half.written += taken;
        }
    }

    fn read(&mut self, end: usize, id: u32, length: usize) {
        let mut buffer = vec![0; length];
        let outcome = self.pair.ends[end].read(id, &mut &mut buffer[..]);
        let half = self.streams[end].get_mut(&id).unwrap();
        match outcome {
            Ok(ReadOutcome::Bytes(count)) => {
                for (offset, found) in buffer[..count].iter().enumerate() {
                    assert_eq!(*found, byte(1 - end, id, half.read + offset));
                }
                half.read += count;
            }
            Ok(ReadOutcome::End) => half.ended = true,
            Ok(ReadOutcome::Blocked) | Err(_) => {}
        }
    }

    /// Ends every stream in good order; everything must then have arrived.
    fn finish(mut self) {
        for end in [DIALER, LISTENER] {
            for (id, half) in &mut self.streams[end] {
                if !half.gone {
                    let _ = self.pair.ends[end].finish(*id);
                }
            }
        }
        for _ in 0..400 {
            self.pair.run(Duration::from_millis(20));
            self.accept();
            for end in [DIALER, LISTENER] {
                let ids: Vec<u32> = self.streams[end].keys().copied().collect();
                for id in ids {
                    let _ = self.pair.ends[end].finish(id);
                    if !self.streams[end][&id].gone {
                        self.read(end, id, 100_000);
                    }
                }
            }
        }
        for end in [DIALER, LISTENER] {
            for (id, half) in &self.streams[end] {
                if half.ended {
                    let sent = self.streams[1 - end][id].written;
                    assert_eq!(
                        half.read, sent,
                        "a clean end of stream {id} after fewer bytes"
                    );
                }
                let neither_left = !half.gone
                    && self.streams[1 - end]
                        .get(id)
                        .is_some_and(|other| !other.gone);
                assert!(
                    !neither_left || half.ended,
                    "stream {id} hangs at end {end}"
                );
            }
            let mux = &mut self.pair.ends[end];
            assert!(mux.is_open(), "{:?}", mux.close_reason());
            assert_eq!(mux.open_streams(), 0, "{:#?}", mux.streams);
            for id in self.streams[end].keys() {
                mux.release(*id);
            }
            assert!(mux.streams.is_empty() && mux.kept_peers == 0);
            assert_eq!(
                mux.sent.room(0),
                Ledger::new(&mux.options.hello(), &mux.options.hello()).room(0)
            );
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, ..Default::default() })]

    /// Honest ends never find fault with each other, keep every bound, and lose no byte.
    #[test]
    fn honest_ends_get_along(seed in any::<u64>(), deeds in deeds()) {
        let mut world = World::new(seed);
        for deed in &deeds {
            world.act(deed);
        }
        world.finish();
    }

    /// The entry of the fuzz target, for machines without a fuzzer.
    #[test]
    fn any_bytes_leave_a_bounded_carrier(
        hello in any::<bool>(),
        bytes in prop::collection::vec(any::<u8>(), 0..3000),
        frames in prop::collection::vec((0u8..10, 0u8..2, 0u16..40, 0u32..6), 0..200),
        cut in 1usize..64,
    ) {
        let now = Timestamp::from_secs(1_000);
        let mut mux = Mux::new(Side::Listener, MuxOptions::default(), now);
        if hello {
            mux.handle_input(&MuxOptions::default().hello().encode(), now);
        }
        let mut input = Vec::new();
        let mut fill = bytes.iter().cycle();
        for (kind, flags, length, stream) in frames {
            let length = match kind {
                frame::kind::PING | frame::kind::PONG | frame::kind::CREDIT => 8,
                frame::kind::RESET => 2,
                _ => usize::from(length),
            };
            input.extend_from_slice(&frame::header(kind, flags, length, stream));
            input.extend((0..length).map(|_| fill.next().copied().unwrap_or(0)));
        }
        input.extend_from_slice(&bytes);
        for piece in input.chunks(cut) {
            mux.handle_input(piece, now);
            mux.accept();
            while mux.poll_output(now).is_some() {}
            while mux.poll_event().is_some() {}
            prop_assert!(mux.unread_bytes() <= 16 << 20);
            prop_assert!(mux.streams.len() <= 4096);
        }
        mux.handle_end();
        prop_assert!(mux.close_reason().is_some());
    }
}
