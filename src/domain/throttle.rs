//! Slows guessing down: after some failures each further try must wait, twice as long each time, up to a bound. Nobody is
//! locked out: whoever waits is heard.

use std::{collections::HashMap, hash::Hash, net::IpAddr, time::Duration};

/// How tries of one kind are slowed down.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Failures that cost nothing.
    pub free: u32,
    /// Longest wait.
    pub longest: Duration,
}

/// How long failures are remembered after the last one.
const MEMORY: Duration = Duration::from_hours(1);
/// Most of what is remembered; past that whoever failed longest ago is forgotten.
const MAX: usize = 65_536;
/// The first wait.
const FIRST: Duration = Duration::from_secs(1);

#[derive(Clone, Copy)]
struct Failures {
    count: u32,
    last: Duration,
}

/// Failures by whom they count against.
pub struct Throttle<K>(HashMap<K, Failures>);

impl<K> Default for Throttle<K> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<K: Hash + Eq + Clone> Throttle<K> {
    /// How long a try must wait yet; `None`: not at all. `now` by a clock that nobody sets.
    #[must_use]
    pub fn wait(&self, key: &K, pace: Pace, now: Duration) -> Option<Duration> {
        let failures = self.0.get(key).filter(|failures| now.saturating_sub(failures.last) < MEMORY)?;
        let beyond = failures.count.checked_sub(pace.free)?;
        let span = FIRST.saturating_mul(1 << beyond.min(20)).min(pace.longest);
        span.checked_sub(now.saturating_sub(failures.last)).filter(|left| !left.is_zero())
    }

    /// Notes a failure.
    pub fn fail(&mut self, key: K, now: Duration) {
        if self.0.len() >= MAX && !self.0.contains_key(&key) {
            self.0.retain(|_, failures| now.saturating_sub(failures.last) < MEMORY);
            let oldest = self.0.iter().min_by_key(|(_, failures)| failures.last).map(|(key, _)| key.clone());
            if let Some(oldest) = oldest.filter(|_| self.0.len() >= MAX) {
                self.0.remove(&oldest);
            }
        }
        let failures = self.0.entry(key).or_insert(Failures { count: 0, last: now });
        if now.saturating_sub(failures.last) >= MEMORY {
            failures.count = 0;
        }
        *failures = Failures { count: failures.count.saturating_add(1), last: now };
    }

    /// One that was noted was none.
    pub fn take_back(&mut self, key: &K) {
        if let Some(failures) = self.0.get_mut(key) {
            failures.count = failures.count.saturating_sub(1);
        }
    }

    /// Forgets failures: it was them.
    pub fn succeed(&mut self, key: &K) {
        self.0.remove(key);
    }
}

/// The network that an address counts as: one IPv4 address, or the /64 that one customer has (RFC 6177).
#[must_use]
pub fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(v4) => IpAddr::V4(v4),
        IpAddr::V6(v6) => IpAddr::V6((v6.to_bits() & !u128::from(u64::MAX)).into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PACE: Pace = Pace { free: 3, longest: Duration::from_mins(1) };

    #[test]
    fn each_failure_past_the_free_ones_doubles_the_wait_up_to_a_bound() {
        let mut throttle = Throttle::default();
        let mut now = Duration::from_secs(1_000);
        let mut waits = Vec::new();
        for _ in 0..11 {
            let wait = throttle.wait(&"mia", PACE, now).unwrap_or_default();
            waits.push(wait.as_secs());
            now += wait;
            assert_eq!(throttle.wait(&"mia", PACE, now), None, "whoever waits is heard");
            throttle.fail("mia", now);
        }
        assert_eq!(waits, [0, 0, 0, 1, 2, 4, 8, 16, 32, 60, 60]);
        assert_eq!(throttle.wait(&"ben", PACE, now), None);
        assert_eq!(throttle.wait(&"mia", PACE, now + MEMORY), None, "forgotten");
        throttle.take_back(&"mia");
        assert_eq!(throttle.0["mia"].count, 10);
        throttle.succeed(&"mia");
        throttle.take_back(&"mia");
        assert_eq!(throttle.wait(&"mia", PACE, now), None);
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut throttle = Throttle::default();
        for n in 0..u32::try_from(MAX).expect("small") + 10 {
            throttle.fail(n, Duration::from_millis(u64::from(n)));
        }
        assert_eq!(throttle.0.len(), MAX);
        assert!(!throttle.0.contains_key(&0) && throttle.0.contains_key(&10));
    }

    #[test]
    fn an_address_counts_as_its_network() {
        let of = |text: &str| network(text.parse().expect("an address")).to_string();
        assert_eq!(of("192.0.2.7"), "192.0.2.7");
        assert_eq!(of("::ffff:192.0.2.7"), "192.0.2.7");
        assert_eq!(of("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::");
    }
}
