use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
    task::Waker,
};

use bytes::Bytes;

use crate::Timestamp;

/// One connection: what is under way in each direction.
#[derive(Debug, Default)]
pub(super) struct Wire {
    pub(super) ways: [OneWay; 2],
    pub(super) is_cut: bool,
}

#[derive(Debug, Default)]
pub(super) struct OneWay {
    pub(super) segments: VecDeque<(Timestamp, Bytes)>,
    /// Bytes under way, swallowed ones included: nobody acknowledges those.
    pub(super) queued: usize,
    /// When the last byte that was sent has left.
    pub(super) free_at: Timestamp,
    pub(super) last_arrival: Timestamp,
    /// The writer has ended its direction; the end arrives then.
    pub(super) end_at: Option<Timestamp>,
    pub(super) ended: bool,
    /// The reader is gone.
    pub(super) deaf: bool,
    pub(super) reader: Option<Waker>,
    pub(super) writer: Option<Waker>,
}

impl Wire {
    pub(super) fn cut(&mut self) {
        self.is_cut = true;
        self.wake_all();
    }

    pub(super) fn wake_all(&mut self) {
        for way in &mut self.ways {
            way.wake_reader();
            way.wake_writer();
        }
    }
}

impl OneWay {
    pub(super) fn wake_reader(&mut self) {
        if let Some(waker) = self.reader.take() {
            waker.wake();
        }
    }

    pub(super) fn wake_writer(&mut self) {
        if let Some(waker) = self.writer.take() {
            waker.wake();
        }
    }
}

pub(super) fn lock(wire: &Mutex<Wire>) -> MutexGuard<'_, Wire> {
    wire.lock().unwrap_or_else(PoisonError::into_inner)
}
