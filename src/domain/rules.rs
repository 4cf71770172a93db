//! Allowlists as decisions read them: made once, when a key is taken in, and then looked at without taking memory or parsing
//! anything. A look takes time in proportion to the list and to what is looked for, whatever stands in either.

use std::net::IpAddr;

use ipnet::IpNet;

use super::{
    keys::Allowlist,
    permission::{Permission, PermissionSet},
};

/// Marks the length of the last literal of a pattern, and of a host that others are to be below. No text is so long.
const MARK: u16 = 1 << 15;

/// What a key may be used for. Each part that is empty allows everything.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Rules {
    ranges: Ranges,
    origins: Hosts,
    models: Patterns,
    endpoints: Patterns,
    permissions: Option<PermissionSet>,
}

impl Rules {
    /// Those of an allowlist; `None` when it is open.
    #[must_use]
    pub fn of(list: &Allowlist) -> Option<Self> {
        (!list.is_open()).then(|| Self {
            ranges: Ranges::of(&list.cidrs),
            origins: Hosts::of(&list.origins),
            models: Patterns::of(&list.models),
            endpoints: Patterns::of(&list.endpoints),
            permissions: list.permissions,
        })
    }

    /// Whether a call from `ip` passes. An IPv4 address mapped into IPv6 counts as IPv4. A missing or unreadable
    /// address passes only an empty list.
    #[must_use]
    pub fn admits_ip(&self, ip: Option<IpAddr>) -> bool {
        self.ranges.is_empty() || ip.is_some_and(|ip| self.ranges.has(ip))
    }

    /// Whether a call from `origin` (`https://app.example.com:8443` or a bare host name) passes.
    #[must_use]
    pub fn admits_origin(&self, origin: &str) -> bool {
        if self.origins.lens.is_empty() {
            return true;
        }
        let host = origin.split_once("://").map_or(origin, |(_, rest)| rest);
        let host = host.split(['/', ':']).next().unwrap_or_default();
        !host.is_empty() && self.origins.has(host)
    }

    /// Whether a call to `model` passes.
    #[must_use]
    pub fn admits_model(&self, model: &str) -> bool {
        self.models.lens.is_empty() || self.models.matches(model)
    }

    /// Whether a call to `endpoint` passes.
    #[must_use]
    pub fn admits_endpoint(&self, endpoint: &str) -> bool {
        self.endpoints.lens.is_empty() || self.endpoints.matches(endpoint)
    }

    /// Whether the key may be used for `permission`, its owner's roles aside.
    #[must_use]
    pub fn admits_permission(&self, permission: Permission) -> bool {
        self.permissions.is_none_or(|set| set.has(permission))
    }
}

/// Address ranges, first to last address, in order and apart from each other.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct Ranges {
    v4: Box<[(u32, u32)]>,
    v6: Box<[(u128, u128)]>,
}

impl Ranges {
    fn of(ranges: &[IpNet]) -> Self {
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        for range in ranges {
            match range {
                IpNet::V4(range) => v4.push((range.network().to_bits(), range.broadcast().to_bits())),
                IpNet::V6(range) => v6.push((range.network().to_bits(), range.broadcast().to_bits())),
            }
        }
        Self { v4: merged(v4), v6: merged(v6) }
    }

    fn is_empty(&self) -> bool {
        self.v4.is_empty() && self.v6.is_empty()
    }

    fn has(&self, ip: IpAddr) -> bool {
        match ip.to_canonical() {
            IpAddr::V4(ip) => is_within(&self.v4, ip.to_bits()),
            IpAddr::V6(ip) => is_within(&self.v6, ip.to_bits()),
        }
    }
}

/// Ranges in order, those that overlap as one.
fn merged<N: Copy + Ord>(mut ranges: Vec<(N, N)>) -> Box<[(N, N)]> {
    ranges.sort_unstable();
    ranges.dedup_by(|next, before| {
        let one = next.0 <= before.1;
        if one {
            before.1 = before.1.max(next.1);
        }
        one
    });
    ranges.into()
}

fn is_within<N: Copy + Ord>(ranges: &[(N, N)], number: N) -> bool {
    let after = ranges.partition_point(|(first, _)| *first <= number);
    after.checked_sub(1).is_some_and(|at| number <= ranges[at].1)
}

/// Names of hosts, one text after the other.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct Hosts {
    names: Box<str>,
    /// How long each is; marked when it is every name below it that is meant.
    lens: Box<[u16]>,
}

impl Hosts {
    fn of(origins: &[String]) -> Self {
        let (mut names, mut lens) = (String::new(), Vec::new());
        for origin in origins {
            let (name, mark) = origin.strip_prefix("*.").map_or((origin.as_str(), 0), |parent| (parent, MARK));
            names.push_str(name);
            lens.push(len_of(name) | mark);
        }
        Self { names: names.into(), lens: lens.into() }
    }

    fn has(&self, host: &str) -> bool {
        let mut names = &*self.names;
        self.lens.iter().any(|len| {
            let (name, rest) = names.split_at(usize::from(len & !MARK));
            names = rest;
            if len & MARK == 0 { name.eq_ignore_ascii_case(host) } else { is_below(host, name) }
        })
    }
}

/// `host` is a name below `parent`, ignoring ASCII case.
pub(super) fn is_below(host: &str, parent: &str) -> bool {
    let above = host.len().checked_sub(parent.len() + 1).filter(|above| *above > 0);
    let Some((_, tail)) = above.and_then(|above| host.split_at_checked(above)) else { return false };
    tail.strip_prefix('.').is_some_and(|tail| tail.eq_ignore_ascii_case(parent))
}

/// Patterns in which `*` stands for any text: the literals between the stars, one text after the other.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct Patterns {
    literals: Box<str>,
    /// How long each literal is; marked when it is the last of its pattern.
    lens: Box<[u16]>,
}

impl Patterns {
    fn of(patterns: &[String]) -> Self {
        let (mut literals, mut lens) = (String::new(), Vec::new());
        for pattern in patterns {
            for literal in pattern.split('*') {
                literals.push_str(literal);
                lens.push(len_of(literal));
            }
            if let Some(last) = lens.last_mut() {
                *last |= MARK;
            }
        }
        Self { literals: literals.into(), lens: lens.into() }
    }

    fn matches(&self, text: &str) -> bool {
        let mut left = &*self.literals;
        self.lens.split_inclusive(|len| len & MARK != 0).any(|lens| {
            let len = lens.iter().map(|len| usize::from(len & !MARK)).sum();
            let (literals, rest) = left.split_at(len);
            left = rest;
            matches(literals, lens, text)
        })
    }
}

/// Whether a text begins with the first literal, ends with the last, and has the others between them in their order. Where each
/// is found first is as good as any later place, so that nothing is tried twice.
fn matches(literals: &str, lens: &[u16], text: &str) -> bool {
    let Some((first, lens)) = lens.split_first() else { return false };
    let (first, literals) = literals.split_at(usize::from(first & !MARK));
    let Some(rest) = text.strip_prefix(first) else { return false };
    let Some((last, lens)) = lens.split_last() else { return rest.is_empty() };
    let (mut literals, last) = literals.split_at(literals.len() - usize::from(last & !MARK));
    let Some(mut rest) = rest.strip_suffix(last) else { return false };
    lens.iter().all(|len| {
        let (literal, others) = literals.split_at(usize::from(*len));
        literals = others;
        let found = rest.find(literal);
        rest = found.and_then(|at| rest.get(at + literal.len()..)).unwrap_or_default();
        found.is_some()
    })
}

/// Whether one pattern matches a text. Of another pattern as the text: whether it matches everything that the other does, for a
/// star is then a character that nothing but a star stands for.
#[must_use]
pub fn glob(pattern: &str, text: &str) -> bool {
    Patterns::of(&[pattern.to_owned()]).matches(text)
}

/// The length of what was read as an entry: at most 256 characters, of four bytes at most.
fn len_of(text: &str) -> u16 {
    u16::try_from(text.len()).unwrap_or(MARK - 1).min(MARK - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(change: impl Fn(&mut Allowlist)) -> Rules {
        let mut list = Allowlist::default();
        change(&mut list);
        Rules::of(&list).expect("restricted")
    }

    fn texts(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|text| (*text).to_owned()).collect()
    }

    #[test]
    fn an_open_list_has_no_rules() {
        assert_eq!(Rules::of(&Allowlist::default()), None);
    }

    #[test]
    fn addresses_pass_by_range_and_mapped_ipv4_counts_as_ipv4() {
        let cidrs = ["10.0.0.0/8", "10.1.0.0/16", "0.0.0.0/32", "255.255.255.255/32", "2001:db8::/32", "::1/128"];
        let rules = rules(|list| list.cidrs = cidrs.iter().map(|text| text.parse().expect("a range")).collect());
        let passes = |text: &str| rules.admits_ip(text.parse().ok());
        for good in
            ["10.0.0.0", "10.255.255.255", "::ffff:10.1.2.3", "0.0.0.0", "255.255.255.255", "2001:db8::7", "::1"]
        {
            assert!(passes(good), "{good}");
        }
        for bad in
            ["9.255.255.255", "11.0.0.1", "0.0.0.1", "255.255.255.254", "2001:db9::", "::2", "::ffff:11.0.0.1", "x"]
        {
            assert!(!passes(bad), "{bad}");
        }
    }

    #[test]
    fn origins_pass_by_name_or_below_a_name() {
        let rules = rules(|list| list.origins = texts(&["a.test", "*.b.test"]));
        for good in ["https://a.test", "A.test:443", "https://x.b.test/path", "x.y.B.test"] {
            assert!(rules.admits_origin(good), "{good}");
        }
        for bad in ["", "b.test", "xb.test", ".b.test", "a.test.evil", "ü.b.tesü", "éb.test"] {
            assert!(!rules.admits_origin(bad), "{bad}");
        }
    }

    #[test]
    fn a_star_stands_for_any_text_wherever_it_stands() {
        let rules = rules(|list| list.models = texts(&["gpt-*-mini", "*/llama*", "o1", "a*b*c", "é*é"]));
        for good in ["gpt-4o-mini", "gpt--mini", "meta/llama", "x/y/llama-3", "o1", "abc", "a-b-b-c-c", "éé", "éxé"]
        {
            assert!(rules.admits_model(good), "{good}");
        }
        for bad in ["gpt-mini", "gpt-4o-mini-2", "llama", "o", "o11", "acb", "ab", "é", ""] {
            assert!(!rules.admits_model(bad), "{bad}");
        }
        assert!(rules.admits_endpoint("") && rules.admits_origin("") && rules.admits_ip(None));
    }

    #[test]
    fn a_pattern_covers_another_when_it_matches_all_that_the_other_does() {
        for (wide, narrow) in [("*", "a*b"), ("a*", "a*b"), ("a*b", "ab"), ("*b*", "a*b*c"), ("a*b*c", "axb*byc")] {
            assert!(glob(wide, narrow) && !glob(narrow, wide), "{wide} {narrow}");
        }
        for (one, other) in [("a*", "*a"), ("a*b", "a*c"), ("*ab*", "*a*b*")] {
            assert!(!glob(one, other), "{one} {other}");
        }
    }

    #[test]
    fn no_pattern_takes_long() {
        let pattern = format!("{}b", "a*".repeat(127));
        let rules = rules(|list| list.models = vec![pattern.clone(); 64]);
        // Trying every way to spread a text over the stars would not end in a lifetime.
        assert!(!rules.admits_model(&"a".repeat(100_000)));
        assert!(rules.admits_model(&format!("{}b", "a".repeat(100_000))));
    }
}
