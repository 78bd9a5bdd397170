use std::{fmt, marker::PhantomData};

use crate::{FromStub, LONGEST_PAYLOAD, ToStub};

/// Cuts a stream of bytes into messages of one direction.
#[derive(Debug)]
pub struct Decoder<M> {
    buffer: Vec<u8>,
    /// How much of `buffer` was made messages of.
    taken: usize,
    message: PhantomData<fn() -> M>,
}

/// Bytes that are no message of this protocol. The stream can't be understood from there on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProtocolError(pub(crate) String);

impl fmt::Display for ProtocolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for ProtocolError {}

impl<M> Default for Decoder<M> {
    fn default() -> Self {
        Self {
            buffer: Vec::new(),
            taken: 0,
            message: PhantomData,
        }
    }
}

impl<M: Message> Decoder<M> {
    /// Nothing read yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds what was read.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.drain(..self.taken);
        self.taken = 0;
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole message; `None` until more is pushed.
    ///
    /// # Errors
    /// An unknown kind, a payload that is too long, or one that is not what its kind says.
    pub fn next_message(&mut self) -> Result<Option<M>, ProtocolError> {
        let Some((head, rest)) = self.buffer[self.taken..].split_first_chunk::<5>() else {
            return Ok(None);
        };
        let [kind, length @ ..] = *head;
        let length = u32::from_be_bytes(length) as usize;
        if length > LONGEST_PAYLOAD {
            return Err(ProtocolError(format!(
                "a frame of kind {kind} announces {length} bytes, more than {LONGEST_PAYLOAD}"
            )));
        }
        let Some(payload) = rest.get(..length) else {
            return Ok(None);
        };
        let message = M::parse(kind, payload)?;
        self.taken += 5 + length;
        if self.taken == self.buffer.len() {
            // Nothing is held by who has nothing to say.
            (self.buffer, self.taken) = (Vec::new(), 0);
        }
        Ok(Some(message))
    }
}

/// What a decoder makes.
pub trait Message: Sized {
    /// From a frame's kind and payload.
    ///
    /// # Errors
    /// It is none of this direction's.
    fn parse(kind: u8, payload: &[u8]) -> Result<Self, ProtocolError>;
}

impl Message for ToStub {
    fn parse(kind: u8, payload: &[u8]) -> Result<Self, ProtocolError> {
        Self::read(kind, payload)
    }
}

impl Message for FromStub {
    fn parse(kind: u8, payload: &[u8]) -> Result<Self, ProtocolError> {
        Self::read(kind, payload)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{Ending, Opening};

    fn opening() -> impl Strategy<Value = Opening> {
        let words = || proptest::collection::vec(".{0,40}", 0..5);
        (".{0,40}", words(), words()).prop_map(|(directory, arguments, environment)| Opening {
            directory,
            arguments,
            environment,
        })
    }

    fn to_stub() -> impl Strategy<Value = ToStub> {
        prop_oneof![
            proptest::collection::vec(any::<u8>(), 0..300).prop_map(ToStub::Input),
            Just(ToStub::InputEnd),
            Just(ToStub::Beat),
            Just(ToStub::End),
            any::<u8>().prop_map(ToStub::Signal),
            any::<u32>().prop_map(ToStub::Room),
            opening().prop_map(ToStub::Open),
            any::<(u16, u16)>().prop_map(|(columns, rows)| ToStub::Resize { columns, rows }),
        ]
    }

    fn from_stub() -> impl Strategy<Value = FromStub> {
        let ending = prop_oneof![
            any::<u8>().prop_map(Ending::Code),
            any::<u8>().prop_map(Ending::Signal),
            Just(Ending::Unknown),
        ];
        prop_oneof![
            Just(FromStub::Started),
            Just(FromStub::Waiting),
            ".{0,80}".prop_map(FromStub::Declined),
            any::<u8>().prop_map(FromStub::Hello),
            (any::<u8>(), ".{0,80}").prop_map(|(code, reason)| FromStub::Failed { code, reason }),
            proptest::collection::vec(any::<u8>(), 0..300).prop_map(FromStub::Output),
            proptest::collection::vec(any::<u8>(), 0..300).prop_map(FromStub::Errors),
            any::<u32>().prop_map(FromStub::Taken),
            ending.prop_map(FromStub::Exit),
            any::<(u32, u32)>().prop_map(|(killed, left)| FromStub::Cleaned { killed, left }),
        ]
    }

    fn decode<M: Message>(bytes: &[u8], cut: usize) -> Vec<M> {
        let mut decoder = Decoder::new();
        let mut seen = Vec::new();
        for piece in bytes.chunks(cut) {
            decoder.push(piece);
            while let Some(message) = decoder.next_message().unwrap() {
                seen.push(message);
            }
        }
        assert!(decoder.buffer.is_empty());
        seen
    }

    proptest! {
        #[test]
        fn messages_survive_any_cut(
            there in proptest::collection::vec(to_stub(), 0..8),
            back in proptest::collection::vec(from_stub(), 0..8),
            cut in 1usize..40,
        ) {
            let mut bytes = Vec::new();
            there.iter().for_each(|message| message.write(&mut bytes));
            prop_assert_eq!(decode::<ToStub>(&bytes, cut), there);
            bytes.clear();
            back.iter().for_each(|message| message.write(&mut bytes));
            prop_assert_eq!(decode::<FromStub>(&bytes, cut), back);
        }

        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut decoder = Decoder::<FromStub>::new();
            decoder.push(&bytes);
            while let Ok(Some(_)) = decoder.next_message() {}
            let mut decoder = Decoder::<ToStub>::new();
            decoder.push(&bytes);
            while let Ok(Some(_)) = decoder.next_message() {}
        }
    }

    #[test]
    fn a_length_beyond_the_limit_is_refused_before_it_is_there() {
        let mut decoder = Decoder::<FromStub>::new();
        decoder.push(&[4, 0xff, 0xff, 0xff, 0xff]);
        let error = decoder.next_message().unwrap_err();
        assert!(error.to_string().contains("4294967295 bytes"), "{error}");
    }

    #[test]
    fn a_kind_of_the_other_direction_is_refused() {
        let mut decoder = Decoder::<ToStub>::new();
        decoder.push(&[64, 0, 0, 0, 0]);
        assert!(decoder.next_message().is_err());
    }
}
