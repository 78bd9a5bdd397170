use std::{fmt, sync::Arc};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::NodeVerdict;

/// What was found about every node, the feasible ones first, best first.
///
/// Over a hundred thousand nodes the texts are far more work than the findings, and nobody reads
/// them all: a scheduler keeps the values that it compared, and a verdict is worded when it is asked
/// for. What was found does not change with the cluster.
#[derive(Clone)]
pub struct Verdicts(Source);

#[derive(Clone)]
enum Source {
    Worded(Arc<[NodeVerdict]>),
    Kept(Arc<dyn VerdictSource>),
}

/// Findings about nodes that are worded one by one.
pub trait VerdictSource: fmt::Debug + Send + Sync {
    /// How many nodes there are.
    fn len(&self) -> usize;

    /// The verdict at a place, from 0; nothing behind the last.
    fn verdict(&self, at: usize) -> Option<NodeVerdict>;

    /// Whether there is no node.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Verdicts {
    /// Verdicts that a scheduler words when they are asked for.
    pub fn kept(source: Arc<dyn VerdictSource>) -> Self {
        Self(Source::Kept(source))
    }

    /// How many nodes there are.
    pub fn len(&self) -> usize {
        match &self.0 {
            Source::Worded(verdicts) => verdicts.len(),
            Source::Kept(source) => source.len(),
        }
    }

    /// Whether there is no node.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The verdict at a place, from 0; nothing behind the last.
    pub fn at(&self, at: usize) -> Option<NodeVerdict> {
        match &self.0 {
            Source::Worded(verdicts) => verdicts.get(at).cloned(),
            Source::Kept(source) => source.verdict(at),
        }
    }

    /// All of them, each worded as it is reached.
    pub fn iter(&self) -> VerdictIter<'_> {
        VerdictIter {
            verdicts: self,
            at: 0,
        }
    }

    /// The verdict on the node of this name. Words those before it.
    pub fn of(&self, name: &str) -> Option<NodeVerdict> {
        self.iter().find(|verdict| verdict.name.as_str() == name)
    }
}

/// Words one verdict after the other.
#[derive(Debug)]
pub struct VerdictIter<'v> {
    verdicts: &'v Verdicts,
    at: usize,
}

impl Iterator for VerdictIter<'_> {
    type Item = NodeVerdict;

    fn next(&mut self) -> Option<NodeVerdict> {
        let verdict = self.verdicts.at(self.at)?;
        self.at += 1;
        Some(verdict)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = self.verdicts.len() - self.at;
        (left, Some(left))
    }
}

impl ExactSizeIterator for VerdictIter<'_> {}

impl<'v> IntoIterator for &'v Verdicts {
    type Item = NodeVerdict;
    type IntoIter = VerdictIter<'v>;

    fn into_iter(self) -> VerdictIter<'v> {
        self.iter()
    }
}

impl From<Vec<NodeVerdict>> for Verdicts {
    fn from(verdicts: Vec<NodeVerdict>) -> Self {
        Self(Source::Worded(verdicts.into()))
    }
}

impl FromIterator<NodeVerdict> for Verdicts {
    fn from_iter<I: IntoIterator<Item = NodeVerdict>>(verdicts: I) -> Self {
        Self(Source::Worded(verdicts.into_iter().collect()))
    }
}

/// Equal if they say the same.
impl PartialEq for Verdicts {
    fn eq(&self, other: &Self) -> bool {
        self.len() == other.len() && self.iter().eq(other.iter())
    }
}

impl Eq for Verdicts {}

impl fmt::Debug for Verdicts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

/// As a list of [`NodeVerdict`], worded on the way.
impl Serialize for Verdicts {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter())
    }
}

impl<'de> Deserialize<'de> for Verdicts {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Vec::deserialize(deserializer).map(Self::from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct Numbered(usize);

    impl VerdictSource for Numbered {
        fn len(&self) -> usize {
            self.0
        }

        fn verdict(&self, at: usize) -> Option<NodeVerdict> {
            let name = format!("n{at}");
            let verdict = || NodeVerdict::new(name.parse().unwrap(), name.parse().unwrap());
            (at < self.0).then(verdict)
        }
    }

    #[test]
    fn what_is_worded_late_reads_as_if_it_were_worded_at_once() {
        let kept = Verdicts::kept(Arc::new(Numbered(3)));
        let worded: Verdicts = kept.iter().collect();
        assert_eq!((kept.len(), &kept), (3, &worded));
        assert_eq!(kept.of("n2"), worded.at(2));
        assert_eq!(kept.at(3), None);
        let text = serde_json::to_string(&kept).unwrap();
        assert_eq!(serde_json::from_str::<Verdicts>(&text).unwrap(), worded);
        assert_ne!(kept, Verdicts::kept(Arc::new(Numbered(2))));
    }
}
