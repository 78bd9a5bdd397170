//! Encryption and authentication of datagrams, with a key that the cluster shares.
//!
//! A process draws a session of 16 random bytes when it starts, and seals with ChaCha20-Poly1305
//! under a key of that session's own (HKDF-SHA256 of the cluster's key), so that a counter can be
//! the nonce and none is ever used twice. A receiver takes each counter of a session once, within a
//! window of 1,024. A session that it does not know must carry the present time, within five
//! minutes: older recordings can't be played to a process that started since.

use std::{collections::BTreeMap, fmt};

use longshore_core::{Error, Random, Result, Timestamp};
use ring::{
    aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey},
    hkdf::{HKDF_SHA256, Salt},
};

/// The key that all members of a gossip cluster share: 32 random bytes.
#[derive(Clone)]
pub struct GossipKey([u8; 32]);

impl GossipKey {
    /// Reads 64 hexadecimal digits, as `openssl rand -hex 32` prints them.
    ///
    /// # Errors
    /// It is something else; what it is, is not told.
    pub fn parse(text: &str) -> Result<Self> {
        let bad = || Error::invalid("a gossip key is 64 hexadecimal digits (openssl rand -hex 32)");
        let digits = text.trim().as_bytes();
        if digits.len() != 64 {
            return Err(bad());
        }
        let mut key = [0; 32];
        for (byte, pair) in key.iter_mut().zip(digits.chunks(2)) {
            let digit = |digit: u8| (digit as char).to_digit(16).ok_or_else(bad);
            *byte = (digit(pair[0])? * 16 + digit(pair[1])?) as u8;
        }
        Ok(Self(key))
    }
}

impl fmt::Debug for GossipKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("GossipKey(…)")
    }
}

/// Version, session, counter.
const HEAD: usize = 1 + 16 + 8;
const TAG: usize = 16;
/// The time, in front of what is sealed.
const TIME: usize = 8;
/// Of a whole datagram.
pub(super) const LARGEST: usize = HEAD + TIME + super::wire::LARGEST + TAG;
const TOLERANCE: std::time::Duration = std::time::Duration::from_secs(300);
const MOST_SESSIONS: usize = 32_768;
const WINDOW: u64 = 1024;

pub(super) struct Sealer {
    key: GossipKey,
    session: [u8; 16],
    own: LessSafeKey,
    counter: u64,
    peers: BTreeMap<[u8; 16], Peer>,
}

struct Peer {
    key: LessSafeKey,
    seen: Window,
    heard: Timestamp,
}

impl Sealer {
    pub(super) fn new(key: GossipKey, random: &dyn Random) -> Result<Self> {
        let mut session = [0; 16];
        random.fill(&mut session);
        let own = derive(&key, &session)?;
        Ok(Self {
            key,
            session,
            own,
            counter: 0,
            peers: BTreeMap::new(),
        })
    }

    pub(super) fn seal(&mut self, message: &[u8], now: Timestamp) -> Result<Vec<u8>> {
        self.counter += 1;
        let mut head = [0; HEAD];
        head[0] = 1;
        head[1..17].copy_from_slice(&self.session);
        head[17..].copy_from_slice(&self.counter.to_be_bytes());
        let mut sealed = Vec::with_capacity(LARGEST);
        sealed.extend_from_slice(&now.as_micros().to_be_bytes());
        sealed.extend_from_slice(message);
        self.own
            .seal_in_place_append_tag(nonce(self.counter), Aad::from(head), &mut sealed)
            .map_err(|_| Error::internal("a gossip message can't be sealed"))?;
        let mut datagram = head.to_vec();
        datagram.append(&mut sealed);
        Ok(datagram)
    }

    /// The message in a datagram; `None` for what is not sealed with this cluster's key, was here
    /// before or is too old.
    pub(super) fn open(&mut self, datagram: &[u8], now: Timestamp) -> Option<Vec<u8>> {
        let (head, sealed) = datagram.split_at_checked(HEAD)?;
        if head[0] != 1 || datagram.len() > LARGEST || sealed.len() < TIME + TAG {
            return None;
        }
        let session: [u8; 16] = head[1..17].try_into().ok()?;
        let counter = u64::from_be_bytes(head[17..].try_into().ok()?);
        if session == self.session {
            return None;
        }
        let head: [u8; HEAD] = head.try_into().ok()?;
        let mut sealed = sealed.to_vec();
        if let Some(peer) = self.peers.get_mut(&session) {
            let opened = peer
                .key
                .open_in_place(nonce(counter), Aad::from(head), &mut sealed);
            let message = opened.ok()?.get(TIME..)?.to_vec();
            peer.heard = now;
            return peer.seen.take(counter).then_some(message);
        }
        let key = derive(&self.key, &session).ok()?;
        let opened = key.open_in_place(nonce(counter), Aad::from(head), &mut sealed);
        let (time, message) = opened.ok()?.split_at_checked(TIME)?;
        let time = Timestamp::from_micros(u64::from_be_bytes(time.try_into().ok()?));
        if now.since(time) > TOLERANCE || time.since(now) > TOLERANCE {
            tracing::warn!(
                %time, "a gossip member's clock is off by more than {TOLERANCE:?}, or a recording \
                 was played: ignored"
            );
            return None;
        }
        if self.peers.len() >= MOST_SESSIONS {
            let oldest = self.peers.iter().min_by_key(|(_, peer)| peer.heard);
            let oldest = *oldest?.0;
            self.peers.remove(&oldest);
        }
        let message = message.to_vec();
        let mut seen = Window::default();
        seen.take(counter);
        let heard = now;
        self.peers.insert(session, Peer { key, seen, heard });
        Some(message)
    }
}

impl fmt::Debug for Sealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sealer")
            .field("counter", &self.counter)
            .field("peers", &self.peers.len())
            .finish_non_exhaustive()
    }
}

fn derive(key: &GossipKey, session: &[u8; 16]) -> Result<LessSafeKey> {
    let fault = |_| Error::internal("a gossip key can't be derived");
    let secret = Salt::new(HKDF_SHA256, session).extract(&key.0);
    let okm = secret
        .expand(&[b"longshore gossip 1"], &CHACHA20_POLY1305)
        .map_err(fault)?;
    Ok(LessSafeKey::new(UnboundKey::from(okm)))
}

fn nonce(counter: u64) -> Nonce {
    let mut bytes = [0; 12];
    bytes[4..].copy_from_slice(&counter.to_be_bytes());
    Nonce::assume_unique_for_key(bytes)
}

/// Which counters were seen, as in RFC 6479.
#[derive(Default)]
struct Window {
    highest: u64,
    bits: [u64; (WINDOW / 64) as usize],
}

impl Window {
    /// Says whether this one is new.
    fn take(&mut self, counter: u64) -> bool {
        if counter == 0 || counter + WINDOW <= self.highest {
            return false;
        }
        if counter > self.highest {
            let start = (self.highest + 1).max(counter.saturating_sub(WINDOW - 1));
            for skipped in start..=counter {
                let (word, bit) = place(skipped);
                self.bits[word] &= !bit;
            }
            self.highest = counter;
        }
        let (word, bit) = place(counter);
        let new = self.bits[word] & bit == 0;
        self.bits[word] |= bit;
        new
    }
}

fn place(counter: u64) -> (usize, u64) {
    let at = counter % WINDOW;
    ((at / 64) as usize, 1 << (at % 64))
}

#[cfg(test)]
mod tests {
    use longshore_core::SeededRandom;
    use proptest::prelude::*;

    use super::*;

    const NOW: Timestamp = Timestamp::from_secs(1_790_000_000);

    fn sealer(key: u8, seed: u64) -> Sealer {
        let key = GossipKey::parse(&format!("{key:02x}").repeat(32)).unwrap();
        Sealer::new(key, &SeededRandom::new(seed)).unwrap()
    }

    #[test]
    fn members_with_the_key_understand_each_other_and_nobody_else_does() {
        let (mut a, mut b) = (sealer(1, 1), sealer(1, 2));
        let datagram = a.seal(b"hello", NOW).unwrap();
        assert!(!datagram.windows(5).any(|part| part == b"hello"));
        assert_eq!(b.open(&datagram, NOW).unwrap(), b"hello");
        assert_eq!(sealer(2, 3).open(&datagram, NOW), None);
        for at in 0..datagram.len() {
            let mut changed = datagram.clone();
            changed[at] ^= 1;
            assert_eq!(sealer(1, 4).open(&changed, NOW), None, "byte {at}");
        }
        for length in 0..datagram.len() {
            assert_eq!(sealer(1, 5).open(&datagram[..length], NOW), None);
        }
    }

    #[test]
    fn a_recording_is_not_taken_again() {
        let (mut a, mut b) = (sealer(1, 1), sealer(1, 2));
        let datagrams: Vec<_> = (0..3000u32)
            .map(|number| a.seal(&number.to_be_bytes(), NOW).unwrap())
            .collect();
        // Out of order within the window is fine, a second time never.
        for pair in datagrams.chunks(2) {
            assert!(b.open(&pair[1], NOW).is_some());
            assert!(b.open(&pair[0], NOW).is_some());
        }
        for datagram in &datagrams {
            assert_eq!(b.open(datagram, NOW), None);
        }
        let later = NOW.after(TOLERANCE * 2);
        assert_eq!(
            sealer(1, 3).open(&datagrams[0], later),
            None,
            "to a new process"
        );
    }

    #[test]
    fn keys_are_hexadecimal_and_never_shown() {
        assert!(GossipKey::parse(&"0f".repeat(32)).is_ok());
        for bad in ["", "00", &"zz".repeat(32), &"é".repeat(32)] {
            assert!(GossipKey::parse(bad).is_err());
        }
        let key = GossipKey::parse(&"ab".repeat(32)).unwrap();
        assert_eq!(format!("{key:?}"), "GossipKey(…)");
    }

    proptest! {
        #[test]
        fn each_counter_is_taken_once(counters in proptest::collection::vec(1u64..4000, 1..300)) {
            let mut window = Window::default();
            let (mut taken, mut highest) = (std::collections::BTreeSet::new(), 0);
            for counter in counters {
                let expected = counter + WINDOW > highest && !taken.contains(&counter);
                prop_assert_eq!(window.take(counter), expected);
                taken.insert(counter);
                highest = highest.max(counter);
            }
        }
    }
}
