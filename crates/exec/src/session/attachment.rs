use std::{future::pending, sync::Arc};

use bytes::Bytes;
use longshore_core::{Result, SessionId, Signal, TerminalSize};

use super::{
    Recorder, Role, Secret, SessionCore, SessionEnd, ViewerEvent, ViewerId,
    shared::{Shared, Wake},
};

/// A connection's hold on a session. Dropping it detaches: a writer may come back within the grace
/// time by its [`Secret`].
#[derive(Debug)]
pub struct Attachment {
    shared: Arc<Shared>,
    id: ViewerId,
    wake: Arc<Wake>,
    ready: Ready,
}

/// Where a session stands when a connection joins it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Ready {
    /// The session.
    pub session: SessionId,
    /// What the connection may do.
    pub role: Role,
    /// What a writer shows to come back; `None` for who only sees.
    pub secret: Option<Secret>,
    /// The offset of the oldest output that is kept.
    pub base: u64,
    /// The offset behind the newest output.
    pub head: u64,
    /// The offset of the next input.
    pub next_input: u64,
    /// The offset from which on input is the owner's alone: before it another may have typed.
    pub own_input: u64,
    /// How many bytes of input may be unacknowledged.
    pub input_window: usize,
}

impl Attachment {
    /// Joins; the session must know the role's right to be here.
    pub(super) fn new(
        shared: Arc<Shared>,
        role: Role,
        who: Option<&str>,
        from: Option<u64>,
    ) -> Result<Self> {
        Self::joined(shared, role, who, from, |_, _| ())
    }

    /// Joins with leave to look only, from the oldest output that is kept. There is no moment at which the
    /// right to write could be passed on to it.
    pub(super) fn looking(shared: Arc<Shared>, who: &str) -> Result<Self> {
        Self::joined(shared, Role::Watcher, Some(who), None, |core, id| {
            core.only_looks(id);
        })
    }

    fn joined(
        shared: Arc<Shared>,
        role: Role,
        who: Option<&str>,
        from: Option<u64>,
        limit: impl FnOnce(&mut SessionCore, ViewerId),
    ) -> Result<Self> {
        let who = match role {
            Role::Writer => Some(shared.who.subject.as_str()),
            _ => who,
        };
        let (id, ready) = shared.by_viewer(|core, now| {
            let id = core.attach_as(role, who, from, now)?;
            limit(core, id);
            let (base, head) = core.output_range();
            Ok::<_, longshore_core::Error>((
                id,
                Ready {
                    session: shared.id.clone(),
                    role,
                    secret: None,
                    base,
                    head,
                    next_input: core.next_input(),
                    own_input: core.own_input(),
                    input_window: core.input_capacity(),
                },
            ))
        })?;
        let wake = shared.add(id);
        let secret = (role == Role::Writer).then(|| shared.secret());
        Ok(Self {
            shared,
            id,
            wake,
            ready: Ready { secret, ..ready },
        })
    }

    /// Where the session stood when this connection joined.
    pub fn ready(&self) -> &Ready {
        &self.ready
    }

    /// Takes [`ViewerEvent::Snapshot`], if the hub keeps a screen for the session: where output is
    /// missing, and at once for a connection that only sees.
    #[must_use]
    pub fn with_snapshots(self) -> Self {
        self.shared
            .by_viewer(|core, _| core.accept_snapshots(self.id));
        self
    }

    /// Takes [`ViewerEvent::People`]: who is here, at once and at every change. Who has leave to look
    /// only is told of who holds the session, who writes in it, and itself.
    #[must_use]
    pub fn with_people(self) -> Self {
        self.shared.by_viewer(|core, _| core.accept_people(self.id));
        self
    }

    /// Tells who is here once more: what was asked for changes nothing.
    #[cfg(feature = "gateway")]
    pub(crate) fn tell_people(&self) {
        self.shared.by_viewer(|core, _| core.tell_people(self.id));
    }

    /// Whether it is shown the screen where output is missing: it asked for that, and there is one.
    #[cfg(feature = "gateway")]
    pub(crate) fn takes_snapshots(&self) -> bool {
        self.shared.look(|core, _| core.takes_snapshots(self.id))
    }

    /// Says that whoever comes back for this connection takes what is not in memory any more from
    /// this record: a session that is [`Lossless`](super::WhileDetached::Lossless) goes on meanwhile,
    /// as far as the record has room. What is missing is told as a
    /// [`ViewerEvent::Gap`]; to fill it is the caller's.
    #[must_use]
    pub fn with_record(self, record: Arc<dyn Recorder>) -> Self {
        self.shared.set_record(self.id, record);
        self
    }

    /// The connection's number.
    pub fn id(&self) -> ViewerId {
        self.id
    }

    /// The next event; `None` after the last one. Output is told only as far as the window allows:
    /// [`acknowledge`](Self::acknowledge) what was consumed.
    ///
    /// # Cancel safety
    /// Safe: an event that was not returned is told by the next call. One caller at a time.
    pub async fn next(&self) -> Option<ViewerEvent> {
        loop {
            let (event, is_done, later) = self.shared.by_reader(|core, now| {
                let event = core.poll_event(self.id, now);
                (event, core.is_done(self.id), core.next_output(self.id))
            });
            if is_done {
                self.shared.driver.notify_one();
            }
            if event.is_some() || is_done {
                return event;
            }
            let refilled = async {
                match later {
                    Some(at) => self.shared.clock.sleep_until(at).await,
                    None => pending().await,
                }
            };
            tokio::select! {
                () = self.wake.events.notified() => {}
                () = refilled => {}
            }
        }
    }

    /// Waits until whoever holds this connection may not read on: another took the session over, or
    /// leave to be in it ended. [`next`](Self::next) tells so. Cancel safe; one caller at a time, which
    /// does not wait for [`next`](Self::next) meanwhile.
    #[cfg(feature = "gateway")]
    pub(crate) async fn barred(&self) {
        while !self.shared.look(|core, _| core.is_barred(self.id)) {
            self.wake.events.notified().await;
        }
    }

    /// Waits until the bandwidths of session and user let output pass, and takes as many of these
    /// bytes: for output that comes from elsewhere than the session's own log. Cancel safe.
    #[cfg(feature = "gateway")]
    pub(crate) async fn allowance(&self, want: usize) -> Allowance<'_> {
        loop {
            let taken = self
                .shared
                .look(|core, now| core.take_bandwidth(want.max(1), now));
            match taken {
                Ok(bytes) => {
                    return Allowance {
                        attachment: self,
                        bytes,
                    };
                }
                Err(later) => self.shared.clock.sleep_until(later).await,
            }
        }
    }

    /// The output before `offset` was consumed.
    ///
    /// # Errors
    /// [`ErrorKind::Protocol`](longshore_core::ErrorKind::Protocol) when it was never sent.
    pub fn acknowledge(&self, offset: u64) -> Result<()> {
        let result = self
            .shared
            .by_reader(|core, now| core.acknowledge(self.id, offset, now));
        self.wake.events.notify_one();
        result
    }

    /// Input that begins at `offset`; `None`: where the last ended. It waits in memory, so there
    /// must be [`input_room`](Self::input_room) for it.
    ///
    /// # Errors
    /// [`ErrorKind::Protocol`](longshore_core::ErrorKind::Protocol) for a hole (context `fault` is
    /// `input-hole`), for more than there is room for, and behind the end of the input.
    pub fn receive(&self, offset: Option<u64>, bytes: Bytes) -> Result<()> {
        self.shared
            .by_viewer(|core, now| core.receive(self.id, offset, bytes, now))?;
        Ok(())
    }

    /// Input where the last ended, as fast as the process takes it.
    ///
    /// # Errors
    /// As for [`receive`](Self::receive).
    ///
    /// # Cancel safety
    /// Not safe: a part of the bytes may have been taken.
    pub async fn send(&self, mut bytes: Bytes) -> Result<()> {
        while !bytes.is_empty() {
            let room = self.input_room().await;
            let piece = bytes.split_to(room.min(bytes.len()));
            self.receive(None, piece)?;
        }
        Ok(())
    }

    /// Waits until there is room for input, and says for how much. Cancel safe; one caller at a
    /// time.
    pub async fn input_room(&self) -> usize {
        loop {
            let room = self.shared.look(|core, _| core.input_room());
            if room > 0 {
                return room;
            }
            self.wake.room.notified().await;
        }
    }

    /// For how much input there is room now.
    #[cfg(feature = "gateway")]
    pub(crate) fn free_input(&self) -> usize {
        self.shared.look(|core, _| core.input_room())
    }

    /// The input ends at `offset`; `None`: where the last ended.
    ///
    /// # Errors
    /// As for [`receive`](Self::receive).
    pub fn end_input(&self, offset: Option<u64>) -> Result<()> {
        self.shared
            .by_viewer(|core, _| core.end_input(self.id, offset))
    }

    /// Sets the terminal's size; the newest wins.
    pub fn resize(&self, size: TerminalSize) {
        self.shared.by_viewer(|core, _| core.resize(self.id, size));
    }

    /// Sends a signal to the process.
    pub fn signal(&self, signal: Signal) {
        self.shared
            .by_viewer(|core, now| core.signal(self.id, signal, now));
    }

    /// Stops or resumes output to this connection; a paused writer soon makes the process wait.
    pub fn set_paused(&self, paused: bool) {
        self.shared
            .by_viewer(|core, _| core.set_paused(self.id, paused));
    }

    /// Says that this connection has leave to look only: the right to write is not passed on to it.
    pub fn only_looks(&self) {
        self.shared.by_viewer(|core, _| core.only_looks(self.id));
    }

    /// Passes the right to write to another connection. Who opened the session, or came back to it, may
    /// do so also while another writes, and has the right again when that one leaves; whoever else has
    /// it may pass it on.
    ///
    /// # Errors
    /// This one may not, the other has leave to look only, or is not here.
    pub fn grant(&self, to: ViewerId) -> Result<()> {
        self.shared.by_viewer(|core, _| core.grant(self.id, to))
    }

    /// How many bytes of output may be unacknowledged now.
    #[cfg(feature = "gateway")]
    pub(crate) fn window(&self) -> u64 {
        self.shared.look(|core, _| core.window(self.id))
    }

    /// What [`grant`](Self::grant), or for `None` [`take_back`](Self::take_back), would change.
    #[cfg(feature = "gateway")]
    pub(crate) fn prospect(&self, to: Option<ViewerId>) -> super::Prospect {
        self.shared.look(|core, _| core.prospect(self.id, to))
    }

    /// Whether this connection was granted the right to write, and has it.
    #[cfg(feature = "gateway")]
    pub(crate) fn is_heir(&self) -> bool {
        self.shared.look(|core, _| core.is_heir(self.id))
    }

    /// Tells the connection something.
    #[cfg(feature = "gateway")]
    pub(crate) fn tell(&self, notice: super::Notice) {
        self.shared.by_viewer(|core, _| core.tell(self.id, notice));
    }

    /// Takes the right to write back.
    ///
    /// # Errors
    /// This connection neither opened the session nor came back to it.
    pub fn take_back(&self) -> Result<()> {
        self.shared.by_viewer(|core, _| core.take_back(self.id))
    }

    /// Ends the session, or says that its end was heard and nobody will ask for it again.
    pub fn release(&self) {
        self.shared
            .by_viewer(|core, now| core.release(self.id, now));
    }

    /// How the session ended, once it has.
    pub fn end(&self) -> Option<SessionEnd> {
        self.shared.look(|core, _| core.end().cloned())
    }
}

/// Bytes that may pass; dropped, they may for others.
#[cfg(feature = "gateway")]
#[derive(Debug)]
pub(crate) struct Allowance<'a> {
    attachment: &'a Attachment,
    bytes: usize,
}

#[cfg(feature = "gateway")]
impl Allowance<'_> {
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// So many of them have passed.
    pub(crate) fn spend(&mut self, bytes: usize) {
        self.bytes = self.bytes.saturating_sub(bytes);
    }
}

#[cfg(feature = "gateway")]
impl Drop for Allowance<'_> {
    fn drop(&mut self) {
        let bytes = self.bytes;
        self.attachment
            .shared
            .look(|core, _| core.give_bandwidth_back(bytes));
    }
}

impl Drop for Attachment {
    fn drop(&mut self) {
        self.shared.remove(self.id);
        self.shared.by_viewer(|core, now| core.detach(self.id, now));
    }
}
