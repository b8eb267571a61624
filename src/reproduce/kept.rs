//! What several runs share, which may go on side by side: data, trained starts, whole measurements.

use anyhow::Result;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Values by key. The first run that asks for one makes it, and others wait; of many the latest are kept.
pub struct Kept<K, V> {
    slots: Mutex<Vec<(K, Slot<V>)>>,
    most: usize,
}

type Slot<V> = Arc<Mutex<Option<Arc<V>>>>;

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A run that panicked left its slot empty, which is a state like any other.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<K: PartialEq, V> Kept<K, V> {
    /// Keeps at most `most` values.
    pub fn new(most: usize) -> Arc<Self> {
        Arc::new(Self { slots: Mutex::new(Vec::new()), most })
    }

    /// The value of `key`, from `make` where it is not there.
    ///
    /// # Errors
    /// Of `make`; whoever asks next tries again.
    pub fn get(&self, key: K, make: impl FnOnce() -> Result<V>) -> Result<Arc<V>> {
        let slot = {
            let mut slots = lock(&self.slots);
            match slots.iter().find(|(known, _)| *known == key) {
                Some((_, slot)) => slot.clone(),
                None => {
                    if slots.len() >= self.most {
                        slots.remove(0);
                    }
                    let slot = Slot::default();
                    slots.push((key, slot.clone()));
                    slot
                }
            }
        };
        let mut value = lock(&slot);
        match &*value {
            Some(value) => Ok(value.clone()),
            None => {
                let made = Arc::new(make()?);
                *value = Some(made.clone());
                Ok(made)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::bail;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[test]
    fn a_value_is_made_once_whoever_asks() {
        let (kept, made) = (Kept::<u64, u64>::new(2), AtomicUsize::new(0));
        let get = |key| kept.get(key, || Ok(made.fetch_add(1, Ordering::SeqCst) as u64 + 10 * key));
        std::thread::scope(|scope| {
            (0..8).for_each(|_| drop(scope.spawn(|| get(1).unwrap())));
        });
        assert_eq!((made.load(Ordering::SeqCst), *get(1).unwrap()), (1, 10));
        // What failed is tried again.
        assert!(kept.get(2, || bail!("no")).is_err());
        assert_eq!(*get(2).unwrap(), 21);
        // A third value takes the place of the first.
        assert_eq!([*get(3).unwrap(), *get(2).unwrap(), *get(1).unwrap()], [32, 21, 13]);
    }
}
