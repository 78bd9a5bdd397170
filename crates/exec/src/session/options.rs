use std::time::Duration;

/// What happens to output while nobody holds the session.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum WhileDetached {
    /// It is kept until the log is full; then the process waits. Where the session is recorded and
    /// its client takes what it missed from the record
    /// ([`Attachment::with_record`](super::Attachment::with_record)), the process goes on as long as
    /// the record has room, and waits then. Nothing is lost, for whoever writes: while another was
    /// granted the right to, that is the other, and the owner is told what it missed as gaps.
    #[default]
    Lossless,
    /// The process goes on; the oldest output is dropped and the gap is told.
    Live,
}

/// The bounds of one session.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct SessionOptions {
    /// Bytes of output that are kept for a client that has not acknowledged them. 2 MiB.
    pub log: usize,
    /// Bytes of acknowledged output that are kept for whoever joins later. 16 KiB.
    pub history: usize,
    /// Bytes of input that may wait for the process. 64 KiB.
    pub input: usize,
    /// Bytes of output that may be unacknowledged at first: 64 KiB, then from 8 KiB to 1 MiB, as
    /// the way allows. The process may be 64 KiB ahead of what was sent; where the way is slow, half
    /// the window, 4 KiB at least.
    pub window: usize,
    /// How much waiting output the window aims at, in time. 250 ms.
    pub queued: Duration,
    /// What happens to output while nobody holds the session.
    pub detached: WhileDetached,
    /// At 0x03, 0x1a and 0x1c, output that was not sent yet is dropped, within the next second also
    /// what comes, each time but for the newest (4 to 64 KiB, as the way allows), and the gap is
    /// told. So the answer to ^C does not wait behind what a program said before. Only for
    /// [`WhileDetached::Live`]. Off.
    pub interrupt_flush: bool,
    /// How long a session waits for its client to come back, and an end to be heard. Five minutes;
    /// zero: it ends with its connection. It counts from when whoever opened the session, or came back
    /// to it last, has gone, also where another was granted the right to write.
    pub grace: Duration,
    /// Ends a session in which nothing came in or out for so long. `None`.
    pub idle: Option<Duration>,
    /// Ends a session after so long. `None`.
    pub longest: Option<Duration>,
    /// Bytes of output a second, with bursts of one second. `None`.
    pub bandwidth: Option<u64>,
    /// Input waits until somebody who may approve is there, and again when the last of them left.
    /// Nobody approves their own: where the connections' users are known, that is told by the
    /// subject. Input that waits when the right to write passes on is dropped.
    pub moderated: bool,
    /// Connections to one session at a time. 16.
    pub viewers: usize,
    /// How often leave is asked again, at the latest. Five minutes.
    pub recheck: Duration,
    /// The user agreed to have input recorded, as far as the terminal has shown it. Off.
    pub input_recorded: bool,
}

impl Default for SessionOptions {
    fn default() -> Self {
        Self {
            log: 2 << 20,
            history: 16 << 10,
            input: 64 << 10,
            window: 64 << 10,
            queued: Duration::from_millis(250),
            detached: WhileDetached::Lossless,
            interrupt_flush: false,
            grace: Duration::from_secs(300),
            idle: None,
            longest: None,
            bandwidth: None,
            moderated: false,
            viewers: 16,
            recheck: Duration::from_secs(300),
            input_recorded: false,
        }
    }
}

impl SessionOptions {
    /// Sets the bytes of output kept for a client that has not acknowledged them, at least 1 KiB.
    #[must_use]
    pub fn with_log(mut self, bytes: usize) -> Self {
        self.log = bytes.max(1024);
        self
    }

    /// Sets the bytes of acknowledged output that are kept.
    #[must_use]
    pub fn with_history(mut self, bytes: usize) -> Self {
        self.history = bytes;
        self
    }

    /// Sets the bytes of input that may wait, at least 1 KiB.
    #[must_use]
    pub fn with_input(mut self, bytes: usize) -> Self {
        self.input = bytes.max(1024);
        self
    }

    /// Sets what happens to output while nobody holds the session.
    #[must_use]
    pub fn with_detached(mut self, detached: WhileDetached) -> Self {
        self.detached = detached;
        self
    }

    /// Drops unsent output at an interrupt.
    #[must_use]
    pub fn with_interrupt_flush(mut self) -> Self {
        self.interrupt_flush = true;
        self
    }

    /// Sets how long a session waits for its client.
    #[must_use]
    pub fn with_grace(mut self, grace: Duration) -> Self {
        self.grace = grace;
        self
    }

    /// Ends a session in which nothing happens for so long.
    #[must_use]
    pub fn with_idle(mut self, idle: Duration) -> Self {
        self.idle = Some(idle);
        self
    }

    /// Ends a session after so long.
    #[must_use]
    pub fn with_longest(mut self, longest: Duration) -> Self {
        self.longest = Some(longest);
        self
    }

    /// Sets the bytes of output a second, at least 1 KiB.
    #[must_use]
    pub fn with_bandwidth(mut self, bytes_per_second: u64) -> Self {
        self.bandwidth = Some(bytes_per_second.max(1024));
        self
    }

    /// Input waits for an approver.
    #[must_use]
    pub fn with_moderation(mut self) -> Self {
        self.moderated = true;
        self
    }

    /// Sets how many connections a session may have, at least one.
    #[must_use]
    pub fn with_viewers(mut self, viewers: usize) -> Self {
        self.viewers = viewers.max(1);
        self
    }

    /// The user agreed to have input recorded.
    #[must_use]
    pub fn with_input_recorded(mut self) -> Self {
        self.input_recorded = true;
        self
    }

    /// Sets how often leave is asked again, at the latest.
    #[must_use]
    pub fn with_recheck(mut self, every: Duration) -> Self {
        self.recheck = every.max(Duration::from_secs(1));
        self
    }
}
