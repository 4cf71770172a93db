//! Secrets that were presented and are stored under an older pepper than new ones: noted by the call that hashed them anyway,
//! and taken from there now and then to be stored anew.

use std::sync::Arc;

use hashbrown::HashMap;
use parking_lot::Mutex;

use super::Gate;
use crate::domain::{
    key_secret::PublicId,
    peppers::{Peppers, Rehashed},
};

/// Most that are noted. One that finds no room is noted at a later use.
const MOST: usize = 4096;

/// What is to be stored anew, each once however often it is used.
#[derive(Default)]
pub struct Aged(Mutex<HashMap<PublicId, Rehashed>>);

impl Aged {
    /// Notes one. A call waits for nobody: where another is at it, the next use will do.
    pub fn note(&self, rehashed: Rehashed) {
        if let Some(mut noted) = self.0.try_lock()
            && (noted.len() < MOST || noted.contains_key(&rehashed.public_id))
        {
            noted.insert(rehashed.public_id, rehashed);
        }
    }

    /// Takes all of them, in the order in which everybody writes them.
    #[must_use]
    pub fn take(&self) -> Vec<Rehashed> {
        let noted = std::mem::take(&mut *self.0.lock());
        let mut noted: Vec<Rehashed> = noted.into_values().collect();
        noted.sort_by_key(|rehashed| rehashed.key);
        noted
    }
}

impl<J> Gate<J> {
    /// Under which the secrets of keys are hashed.
    #[must_use]
    pub fn peppers(&self) -> Arc<Peppers> {
        Arc::clone(&self.peppers.lock())
    }

    /// How many secrets of keys no pepper at hand can check.
    #[must_use]
    pub fn unchecked(&self) -> usize {
        let peppers = self.peppers();
        self.read().keys.unchecked(&peppers)
    }

    /// Puts others in their place; gives how many secrets none of them can check.
    pub fn set_peppers(&self, peppers: Peppers) -> usize {
        let peppers = Arc::new(peppers);
        *self.peppers.lock() = Arc::clone(&peppers);
        let unchecked = self.read().keys.unchecked(&peppers);
        self.write_state().peppers = Some(peppers);
        unchecked
    }

    /// The secrets that were used since the last time and are to be stored under the pepper in use.
    #[must_use]
    pub fn take_aged(&self) -> Vec<Rehashed> {
        self.read().aged.take()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{id::KeyId, key_secret::KeyHash, peppers::PepperVersion};

    #[test]
    fn each_is_noted_once_and_no_more_than_there_is_room_for() {
        let aged = Aged::default();
        let one = |number: usize| Rehashed {
            key: KeyId::from_bits(number as u128),
            public_id: PublicId::parse(&format!("{number:012}")).expect("a public id"),
            old: KeyHash([1; 32]).under(PepperVersion::FIRST),
            new: KeyHash([2; 32]).under(PepperVersion::LAST),
        };
        (0..MOST + 10).for_each(|number| aged.note(one(number)));
        (0..10).for_each(|number| aged.note(one(number)));
        let taken = aged.take();
        assert_eq!(taken.len(), MOST);
        assert!(taken.is_sorted_by_key(|rehashed| rehashed.key));
        assert!(aged.take().is_empty());
    }
}
