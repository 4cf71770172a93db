//! Randomness that can be had again: every test that uses it prints its seed.

/// Set: the seed of every random test, to see a failure again.
const SEED: &str = "TOLLREEVE_TEST_SEED";

/// A generator: splitmix64.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// A generator with a fresh seed, or the one asked for; prints it.
    pub fn fresh(test: &str) -> Self {
        let given = std::env::var(SEED).ok().map(|text| text.parse().expect("a seed is a number"));
        let seed = given.unwrap_or_else(|| getrandom::u64().expect("the system gives randomness"));
        println!("{test}: {SEED}={seed}");
        Self(seed)
    }

    /// A generator with a seed.
    pub const fn of(seed: u64) -> Self {
        Self(seed)
    }

    /// The seed, before anything was drawn.
    pub const fn seed(&self) -> u64 {
        self.0
    }

    /// A generator of its own for one of many.
    pub fn fork(&mut self) -> Self {
        Self(self.next())
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number from `least` to `most`, both included.
    pub fn within(&mut self, least: i64, most: i64) -> i64 {
        let span = u64::try_from(most - least + 1).expect("least is at most most");
        least + i64::try_from(self.next() % span).expect("fits")
    }

    /// True once in `n` times.
    pub fn once_in(&mut self, n: u64) -> bool {
        self.next().is_multiple_of(n)
    }

    /// One of some.
    pub fn pick<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        let n = u64::try_from(of.len()).expect("fits");
        &of[usize::try_from(self.next() % n).expect("fits")]
    }

    pub fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| self.next().to_le_bytes()[0]).collect()
    }
}
