use std::fmt;

use longshore_core::Random;

use super::Cleanup;

/// Who starts sessions: a gateway, in one of its lives.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Identity {
    gateway: String,
    life: String,
}

impl Identity {
    /// A gateway that nobody knows again.
    pub(crate) fn unnamed(random: &dyn Random) -> Self {
        Self {
            gateway: random.hex(8),
            life: random.hex(8),
        }
    }

    /// A new life of the gateway with this name.
    pub(crate) fn named(name: &str, random: &dyn Random) -> Self {
        Self {
            gateway: format!("{:016x}", fingerprint(name)),
            life: random.hex(8),
        }
    }

    /// The same in all lives of a gateway with a name.
    pub(crate) fn gateway(&self) -> &str {
        &self.gateway
    }

    pub(crate) fn life(&self) -> &str {
        &self.life
    }
}

/// The sessions that one lifeline watches over: their marks begin alike.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Group(String);

impl Group {
    /// A new one; `None` where nothing is to be found again.
    pub(crate) fn new(identity: &Identity, policy: Cleanup, random: &dyn Random) -> Option<Self> {
        let policy = match policy {
            Cleanup::Tree => TREE,
            Cleanup::Foreground => FOREGROUND,
            // None, and none that this does not know.
            _ => return None,
        };
        let Identity { gateway, life } = identity;
        let group = random.hex(GROUP);
        Some(Self(format!("{policy}{gateway}{life}{group}")))
    }

    /// A mark for a new session of it.
    pub(crate) fn mark(&self, random: &dyn Random) -> Marker {
        Marker(format!("{}{}", self.0, random.hex(16 - GROUP)))
    }

    /// What its marks begin with.
    pub(crate) fn prefix(&self) -> &str {
        &self.0
    }
}

/// The mark of one session: the value of an environment variable that its processes inherit.
///
/// Of fixed length, so that it is found as a word: the policy, the gateway, its life, the group, the
/// session. It is visible in the container and is no credential.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct Marker(String);

impl Marker {
    /// For a new session in a group of its own; `None` where nothing is to be found again.
    pub(crate) fn new(identity: &Identity, policy: Cleanup, random: &dyn Random) -> Option<Self> {
        Group::new(identity, policy, random).map(|group| group.mark(random))
    }

    /// From the value of the variable.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut characters = text.chars();
        let policy = characters.next()?;
        let hex = |c: char| matches!(c, '0'..='9' | 'a'..='f');
        let valid =
            text.len() == LENGTH && [TREE, FOREGROUND].contains(&policy) && characters.all(hex);
        valid.then(|| Self(text.to_owned()))
    }

    /// The first in a command line with its environment behind it.
    pub(crate) fn find(words: &str) -> Option<Self> {
        words
            .split_ascii_whitespace()
            .filter_map(|word| word.strip_prefix(VARIABLE)?.strip_prefix('='))
            .find_map(Self::parse)
    }

    /// The value, which is not found by who looks for the variable.
    pub(crate) fn value(&self) -> &str {
        &self.0
    }

    /// `NAME=value`, as it stands in an environment.
    pub(crate) fn pair(&self) -> String {
        format!("{VARIABLE}={}", self.0)
    }

    /// Whether what carries it is to end with its session, and was started by this gateway in another
    /// life than this. Others' sessions are their business, and this life's are its own.
    pub(crate) fn is_of_another_life(&self, identity: &Identity) -> bool {
        let behind = self.0.strip_prefix(TREE);
        behind
            .and_then(|text| text.strip_prefix(identity.gateway.as_str()))
            .is_some_and(|text| !text.starts_with(&identity.life))
    }
}

impl fmt::Debug for Marker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// FNV-1a, 64 bits: it names, it protects nothing.
fn fingerprint(name: &str) -> u64 {
    name.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

const VARIABLE: &str = "LONGSHORE_EXEC_ID";
const TREE: char = 't';
const FOREGROUND: char = 'f';
/// Bytes that tell groups of one life apart.
const GROUP: usize = 4;
/// A letter and 8, 8 and 16 bytes in hexadecimal.
const LENGTH: usize = 1 + 16 + 16 + 32;

#[cfg(test)]
mod tests {
    use longshore_core::SeededRandom;

    use super::*;

    #[test]
    fn a_marker_is_found_as_a_whole_word_only() {
        let random = SeededRandom::new(1);
        let identity = Identity::named("gate", &random);
        let marker = Marker::new(&identity, Cleanup::Tree, &random).unwrap();
        let pair = marker.pair();
        assert_eq!(
            Marker::find(&format!("sleep 1 A=b {pair} C=d")),
            Some(marker.clone())
        );
        assert_eq!(Marker::find(&format!("sleep 1 X{pair}")), None);
        assert_eq!(Marker::find(&format!("sleep 1 {pair}0")), None);
        assert_eq!(Marker::find(&format!("sleep {}", marker.value())), None);
        assert_eq!(Marker::find(&pair[..pair.len() - 1]), None);
        assert_eq!(Marker::find(&pair.to_uppercase()), None);
        assert!(!format!("{pair} é").is_ascii() && Marker::find(&format!("é {pair}")).is_some());
    }

    #[test]
    fn marks_of_a_group_begin_alike_and_others_do_not() {
        let random = SeededRandom::new(3);
        let identity = Identity::named("gate", &random);
        let group = Group::new(&identity, Cleanup::Tree, &random).unwrap();
        let (one, two) = (group.mark(&random), group.mark(&random));
        assert_ne!(one, two);
        for marker in [&one, &two] {
            assert!(marker.value().starts_with(group.prefix()));
            assert_eq!(Marker::parse(marker.value()).as_ref(), Some(marker));
        }
        let other = Group::new(&identity, Cleanup::Tree, &random).unwrap();
        assert!(!other.mark(&random).value().starts_with(group.prefix()));
    }

    #[test]
    fn only_trees_of_another_life_of_the_same_gateway_are_left_behind() {
        let random = SeededRandom::new(2);
        let before = Identity::named("gate", &random);
        let now = Identity::named("gate", &random);
        let other = Identity::named("other", &random);
        assert_ne!(before, now);
        let tree = Marker::new(&before, Cleanup::Tree, &random).unwrap();
        assert!(tree.is_of_another_life(&now) && !tree.is_of_another_life(&other));
        assert!(!tree.is_of_another_life(&before));
        let kept = Marker::new(&before, Cleanup::Foreground, &random).unwrap();
        assert!(!kept.is_of_another_life(&now));
        assert_eq!(Marker::new(&before, Cleanup::Nothing, &random), None);
        assert_eq!(Group::new(&before, Cleanup::Nothing, &random), None);
        let unnamed = Identity::unnamed(&random);
        assert!(!tree.is_of_another_life(&unnamed));
    }
}
