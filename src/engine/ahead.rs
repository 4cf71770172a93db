//! Asks memory for what a decision will look at, so that it comes while something else is done.
//!
//! A plain look would be waited for before long: a processor that has not got it goes on for some hundred instructions, and what
//! there is to do meanwhile is longer.

use prefetch_index::prefetch_index;

/// Asks for the cache line with the first byte of a value. Nothing but time depends on it.
pub fn ask_for<T>(value: &T) {
    prefetch_index(std::slice::from_ref(value), 0);
}
