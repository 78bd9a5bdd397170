use crate::{LONGEST_PAYLOAD, ProtocolError};

/// What a waiting stub is to become: a session, as if it had been started as one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Opening {
    /// The folder that it begins in; empty: the one that the stub was started in.
    pub directory: String,
    /// The program's arguments, from the word `session` on.
    pub arguments: Vec<String>,
    /// `NAME=value` pairs that are set in the environment that the stub was started with.
    pub environment: Vec<String>,
}

impl Opening {
    /// Whether it can be said in one frame. One that can't is refused by whoever hears it.
    pub fn fits(&self) -> bool {
        let words = self.arguments.iter().chain(&self.environment);
        let length = words.fold(12 + self.directory.len(), |sum, word| {
            sum.saturating_add(4 + word.len())
        });
        length <= LONGEST_PAYLOAD
    }

    pub(crate) fn payload(&self) -> Vec<u8> {
        let mut out = Vec::new();
        put(&mut out, &self.directory);
        for words in [&self.arguments, &self.environment] {
            number(&mut out, words.len());
            words.iter().for_each(|word| put(&mut out, word));
        }
        out
    }

    pub(crate) fn parse(mut payload: &[u8]) -> Result<Self, ProtocolError> {
        let rest = &mut payload;
        let read = |rest: &mut &[u8]| -> Option<Self> {
            Some(Self {
                directory: take(rest)?,
                arguments: take_all(rest)?,
                environment: take_all(rest)?,
            })
        };
        match read(rest) {
            Some(opening) if rest.is_empty() => Ok(opening),
            _ => Err(ProtocolError("an opening can't be read".to_owned())),
        }
    }
}

fn put(out: &mut Vec<u8>, word: &str) {
    number(out, word.len());
    out.extend_from_slice(word.as_bytes());
}

fn number(out: &mut Vec<u8>, number: usize) {
    // What does not fit makes a frame that is too long as well.
    let number = u32::try_from(number).unwrap_or(u32::MAX);
    out.extend_from_slice(&number.to_be_bytes());
}

fn take_number(rest: &mut &[u8]) -> Option<usize> {
    let (head, tail) = rest.split_first_chunk::<4>()?;
    *rest = tail;
    usize::try_from(u32::from_be_bytes(*head)).ok()
}

fn take(rest: &mut &[u8]) -> Option<String> {
    let length = take_number(rest)?;
    let (word, tail) = rest.split_at_checked(length)?;
    *rest = tail;
    String::from_utf8(word.to_vec()).ok()
}

/// Nothing is kept for words that are only announced.
fn take_all(rest: &mut &[u8]) -> Option<Vec<String>> {
    let count = take_number(rest)?;
    let mut words = Vec::new();
    for _ in 0..count {
        words.push(take(rest)?);
    }
    Some(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_cut_or_goes_on_is_no_opening() {
        let opening = Opening {
            directory: "/srv".to_owned(),
            arguments: vec!["session".to_owned(), "--".to_owned(), "sh".to_owned()],
            environment: vec!["A=ä".to_owned()],
        };
        let payload = opening.payload();
        assert_eq!(Opening::parse(&payload).unwrap(), opening);
        for length in 0..payload.len() {
            assert!(Opening::parse(&payload[..length]).is_err(), "{length}");
        }
        assert!(Opening::parse(&[&payload[..], b"x"].concat()).is_err());
        // Four thousand million words of nothing.
        assert!(Opening::parse(&[0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff]).is_err());
    }

    #[test]
    fn what_fits_is_one_frame() {
        let mut opening = Opening::default();
        opening.environment.push(String::new());
        let spare = LONGEST_PAYLOAD - opening.payload().len();
        opening.environment = vec!["x".repeat(spare)];
        assert!(opening.fits());
        assert_eq!(opening.payload().len(), LONGEST_PAYLOAD);
        opening.directory.push('/');
        assert!(!opening.fits());
    }
}
