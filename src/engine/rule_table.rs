//! The rules of keys: keys of the same allowlist share them.

use std::hash::{BuildHasher as _, RandomState};

use hashbrown::HashTable;

use crate::domain::rules::Rules;

/// Every set of rules, by index.
#[derive(Default)]
pub struct RuleTable {
    rows: Vec<Row>,
    /// Where those are that are in use, by what they say.
    index: HashTable<u32>,
    free: Vec<u32>,
    hasher: RandomState,
}

struct Row {
    /// None in a place that is free.
    rules: Option<Rules>,
    /// How many keys have them.
    keys: u32,
}

impl RuleTable {
    /// The rules at an index that [`Self::take`] gave.
    #[must_use]
    pub fn at(&self, at: u32) -> Option<&Rules> {
        self.rows.get(at as usize)?.rules.as_ref()
    }

    /// Where these rules are, for one more key.
    pub fn take(&mut self, rules: Rules) -> u32 {
        let Self { rows, index, free, hasher } = self;
        let hash = hasher.hash_one(&rules);
        if let Some(at) = index.find(hash, |at| rows[*at as usize].rules.as_ref() == Some(&rules)) {
            rows[*at as usize].keys += 1;
            return *at;
        }
        let row = Row { rules: Some(rules), keys: 1 };
        let at = if let Some(at) = free.pop() {
            rows[at as usize] = row;
            at
        } else {
            rows.push(row);
            // There are no more rules than keys.
            u32::try_from(rows.len() - 1).unwrap_or(u32::MAX)
        };
        let again = |at: &u32| rows[*at as usize].rules.as_ref().map_or(0, |rules| hasher.hash_one(rules));
        index.insert_unique(hash, at, again);
        at
    }

    /// A key has them no more.
    pub fn give_back(&mut self, at: u32) {
        let Self { rows, index, free, hasher } = self;
        let Some(row) = rows.get_mut(at as usize) else { return };
        row.keys -= 1;
        if row.keys == 0
            && let Some(rules) = row.rules.take()
        {
            if let Ok(found) = index.find_entry(hasher.hash_one(&rules), |known| *known == at) {
                found.remove();
            }
            free.push(at);
        }
    }

    /// How many different ones are in use.
    #[must_use]
    pub fn len(&self) -> usize {
        self.index.len()
    }

    /// Whether none are.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.index.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::keys::Allowlist;

    fn rules(model: usize) -> Rules {
        let list = Allowlist { models: vec![format!("model-{model}")], ..Allowlist::default() };
        Rules::of(&list).expect("restricted")
    }

    #[test]
    fn keys_of_one_list_share_its_rules_and_the_place_of_the_last_is_taken_again() {
        let mut table = RuleTable::default();
        let places: Vec<u32> = (0..1_000).map(|n| table.take(rules(n % 100))).collect();
        assert_eq!(table.len(), 100);
        for (n, at) in places.iter().enumerate() {
            assert_eq!((*at, table.at(*at)), (places[n % 100], Some(&rules(n % 100))));
        }
        places[100..].iter().for_each(|at| table.give_back(*at));
        assert_eq!(table.len(), 100);
        places[..50].iter().for_each(|at| table.give_back(*at));
        assert_eq!((table.len(), table.at(places[0]), table.rows.len()), (50, None, 100));
        let other = table.take(rules(7_000));
        assert!(places[..50].contains(&other) && table.at(other) == Some(&rules(7_000)));
        assert_eq!((table.rows.len(), table.at(places[99])), (100, Some(&rules(99))));
        // What was given back is made anew.
        assert_eq!(table.take(rules(0)), table.take(rules(0)));
        assert_eq!(table.len(), 52);
    }
}
