use std::{collections::HashSet, hash::Hash, sync::Arc};

/// A text or a record that many nodes and workloads share.
pub(crate) type Text = Arc<str>;

/// Values that are kept once, however often they are used.
#[derive(Debug)]
pub(crate) struct Pool<T: ?Sized + Eq + Hash> {
    known: HashSet<Arc<T>>,
    sweep_at: usize,
}

impl<T: ?Sized + Eq + Hash> Default for Pool<T> {
    fn default() -> Self {
        Self {
            known: HashSet::new(),
            sweep_at: MIN_SWEEP,
        }
    }
}

impl<T: ?Sized + Eq + Hash> Clone for Pool<T> {
    fn clone(&self) -> Self {
        Self {
            known: self.known.clone(),
            sweep_at: self.sweep_at,
        }
    }
}

impl<T: ?Sized + Eq + Hash> Pool<T> {
    /// The shared copy of a value.
    pub(crate) fn share<V>(&mut self, value: V) -> Arc<T>
    where
        V: AsRef<T> + Into<Arc<T>>,
    {
        if let Some(known) = self.known.get(value.as_ref()) {
            return known.clone();
        }
        let new: Arc<T> = value.into();
        self.known.insert(new.clone());
        if self.known.len() >= self.sweep_at {
            // What only the pool holds is used by nobody. Doubling keeps the cost per value constant.
            self.known.retain(|known| Arc::strong_count(known) > 1);
            self.sweep_at = (self.known.len() * 2).max(MIN_SWEEP);
        }
        new
    }
}

const MIN_SWEEP: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_texts_are_one() {
        let mut pool = Pool::<str>::default();
        let (one, other) = (pool.share("zone"), pool.share("zone"));
        assert!(Arc::ptr_eq(&one, &other));
        assert!(!Arc::ptr_eq(&one, &pool.share("rack")));
    }

    #[test]
    fn what_nobody_uses_is_let_go() {
        let mut pool = Pool::<str>::default();
        let kept = pool.share("kept");
        for number in 0..MIN_SWEEP * 4 {
            pool.share(number.to_string().as_str());
        }
        assert!(pool.known.len() <= MIN_SWEEP);
        assert!(Arc::ptr_eq(&kept, &pool.share("kept")));
    }
}
