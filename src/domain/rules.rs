//! Allowlists as decisions read them: made once, when a key is taken in, and then looked at without taking memory or parsing
//! texts. A look takes time in proportion to the list and to what is looked for, whatever stands in either.

use std::net::IpAddr;

use ipnet::IpNet;
use memchr::memmem;

use super::{
    keys::Allowlist,
    permission::{Permission, PermissionSet},
};

/// Marks the length of the last literal of a pattern, and of a host that others are to be below. No text is so long.
const MARK: u16 = 1 << 15;

/// What a key may be used for. Each part that is empty allows everything.
///
/// They are read from one piece of memory, for a decision waits for each that it looks at: whether there is a list of permissions,
/// the list, where each part ends and how many entries it has, and then the parts, one after the other. Numbers are little-endian.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rules<'r>(&'r [u8]);

/// The parts of the rules, in the order in which they stand there.
#[derive(Clone, Copy)]
enum Part {
    /// Ranges of IPv4 addresses, first and last, in order and apart from each other.
    V4,
    /// Ranges of IPv6 addresses, likewise.
    V6,
    /// Hosts: how long each name is, marked when it is every name below it that is meant; and the names.
    Origins,
    /// Patterns, see [`Texts`].
    Models,
    /// Patterns.
    Endpoints,
}

/// How many parts there are.
const PARTS: usize = 5;
/// Where the spans begin: after whether there is a list of permissions, and the list.
const SPANS: usize = 17;
/// Bytes of a span: where its part ends, after the spans, and how many entries it has.
const SPAN: usize = 6;
/// Where the parts begin.
const HEAD: usize = SPANS + PARTS * SPAN;

impl<'r> Rules<'r> {
    /// Those of an allowlist, to be read; `None` when it is open. Less than a mebibyte.
    #[must_use]
    pub fn of(list: &Allowlist) -> Option<Vec<u8>> {
        (!list.is_open()).then(|| {
            let (mut head, mut parts) = (Vec::with_capacity(HEAD), Vec::new());
            head.push(u8::from(list.permissions.is_some()));
            head.extend(list.permissions.unwrap_or_default().bits().to_le_bytes());
            let (v4, v6) = ranges(&list.cidrs);
            for part in [v4, v6, hosts(&list.origins), patterns(&list.models), patterns(&list.endpoints)] {
                parts.extend(part.bytes);
                // A list has at most 64 entries, of 256 characters each.
                head.extend(u32::try_from(parts.len()).unwrap_or(u32::MAX).to_le_bytes());
                head.extend(u16::try_from(part.entries).unwrap_or(u16::MAX).to_le_bytes());
            }
            [head, parts].concat()
        })
    }

    /// What [`Self::of`] has made.
    #[must_use]
    pub const fn read(made: &'r [u8]) -> Self {
        Self(made)
    }

    /// Whether a call from `ip` passes. An IPv4 address mapped into IPv6 counts as IPv4. A missing or unreadable
    /// address passes only an empty list.
    #[must_use]
    pub fn admits_ip(&self, ip: Option<IpAddr>) -> bool {
        let [(v4, _), (v6, _)] = [Part::V4, Part::V6].map(|part| self.part(part));
        if v4.is_empty() && v6.is_empty() {
            return true;
        }
        match ip.map(|ip| ip.to_canonical()) {
            Some(IpAddr::V4(ip)) => is_within(v4, ip.to_bits(), u32::from_le_bytes),
            Some(IpAddr::V6(ip)) => is_within(v6, ip.to_bits(), u128::from_le_bytes),
            None => false,
        }
    }

    /// Whether a call from `origin` (`https://app.example.com:8443` or a bare host name) passes.
    #[must_use]
    pub fn admits_origin(&self, origin: &str) -> bool {
        let mut hosts = Texts::of(self.part(Part::Origins));
        if hosts.is_empty() {
            return true;
        }
        let host = origin.split_once("://").map_or(origin, |(_, rest)| rest);
        let host = host.split(['/', ':']).next().unwrap_or_default().as_bytes();
        let is =
            |(name, marked): (&[u8], bool)| if marked { is_below(host, name) } else { name.eq_ignore_ascii_case(host) };
        !host.is_empty() && hosts.any(is)
    }

    /// Whether a call to `model` passes.
    #[must_use]
    pub fn admits_model(&self, model: &str) -> bool {
        matches_any(Texts::of(self.part(Part::Models)), model)
    }

    /// Whether a call to `endpoint` passes.
    #[must_use]
    pub fn admits_endpoint(&self, endpoint: &str) -> bool {
        matches_any(Texts::of(self.part(Part::Endpoints)), endpoint)
    }

    /// Whether the key may be used for `permission`, its owner's roles aside.
    #[must_use]
    pub fn admits_permission(&self, permission: Permission) -> bool {
        match self.0.split_first().map(|(listed, rest)| (*listed, rest.first_chunk())) {
            Some((1, Some(bits))) => PermissionSet::from_bits(u128::from_le_bytes(*bits)).has(permission),
            _ => true,
        }
    }

    /// A part, and how many entries it has.
    fn part(&self, part: Part) -> (&'r [u8], usize) {
        let end_of = |at: usize| {
            let span = self.0.get(SPANS + at * SPAN..).unwrap_or_default();
            let end = span.first_chunk().map_or(0, |end| u32::from_le_bytes(*end));
            let entries = span.get(4..).and_then(<[u8]>::first_chunk).map_or(0, |entries| u16::from_le_bytes(*entries));
            (HEAD + end as usize, usize::from(entries))
        };
        let (end, entries) = end_of(part as usize);
        let begin = (part as usize).checked_sub(1).map_or(HEAD, |before| end_of(before).0);
        (self.0.get(begin..end).unwrap_or_default(), entries)
    }
}

/// A part that is being made.
struct Made {
    bytes: Vec<u8>,
    entries: usize,
}

/// Address ranges, IPv4 and IPv6.
fn ranges(ranges: &[IpNet]) -> (Made, Made) {
    let (mut v4, mut v6) = (Vec::new(), Vec::new());
    for range in ranges {
        match range {
            IpNet::V4(range) => v4.push((range.network().to_bits(), range.broadcast().to_bits())),
            IpNet::V6(range) => v6.push((range.network().to_bits(), range.broadcast().to_bits())),
        }
    }
    (made(merged(v4), u32::to_le_bytes), made(merged(v6), u128::to_le_bytes))
}

/// Ranges in order, those that overlap as one.
fn merged<N: Copy + Ord>(mut ranges: Vec<(N, N)>) -> Vec<(N, N)> {
    ranges.sort_unstable();
    ranges.dedup_by(|next, before| {
        let one = next.0 <= before.1;
        if one {
            before.1 = before.1.max(next.1);
        }
        one
    });
    ranges
}

fn made<N, const W: usize>(ranges: Vec<(N, N)>, bytes: impl Fn(N) -> [u8; W]) -> Made {
    let entries = ranges.len();
    Made {
        bytes: ranges.into_iter().flat_map(|(first, last)| [bytes(first), bytes(last)]).flatten().collect(),
        entries,
    }
}

/// Whether a number is in one of the ranges.
fn is_within<N: Copy + Ord, const W: usize>(ranges: &[u8], number: N, read: impl Fn([u8; W]) -> N) -> bool {
    let (numbers, _) = ranges.as_chunks::<W>();
    let (ranges, _) = numbers.as_chunks::<2>();
    let after = ranges.partition_point(|[first, _]| read(*first) <= number);
    after.checked_sub(1).is_some_and(|at| number <= read(ranges[at][1]))
}

/// Names of hosts.
fn hosts(origins: &[String]) -> Made {
    texts(origins.iter().map(|origin| origin.strip_prefix("*.").map_or((&**origin, false), |parent| (parent, true))))
}

/// Patterns in which `*` stands for any text: the literals between the stars, the last of each pattern marked.
fn patterns(patterns: &[String]) -> Made {
    texts(patterns.iter().flat_map(|pattern| {
        let stars = pattern.matches('*').count();
        pattern.split('*').enumerate().map(move |(at, literal)| (literal, at == stars))
    }))
}

/// How long each text is, some of them marked, and then the texts.
fn texts<'t>(texts: impl Iterator<Item = (&'t str, bool)>) -> Made {
    let (mut lens, mut bytes) = (Vec::new(), Vec::new());
    for (text, marked) in texts {
        // It was read as an entry: at most 256 characters, of four bytes at most.
        let len = u16::try_from(text.len()).unwrap_or(MARK - 1).min(MARK - 1);
        lens.extend((len | if marked { MARK } else { 0 }).to_le_bytes());
        bytes.extend(text.as_bytes());
    }
    let entries = lens.len() / 2;
    Made { bytes: [lens, bytes].concat(), entries }
}

/// Texts that stand one after the other, and whether each is marked.
struct Texts<'r> {
    lens: &'r [[u8; 2]],
    bytes: &'r [u8],
}

impl<'r> Texts<'r> {
    fn of((part, entries): (&'r [u8], usize)) -> Self {
        let (lens, bytes) = part.split_at_checked(2 * entries).unwrap_or_default();
        Self { lens: lens.as_chunks().0, bytes }
    }

    const fn is_empty(&self) -> bool {
        self.lens.is_empty()
    }

    /// Length and mark.
    fn read(len: [u8; 2]) -> (usize, bool) {
        let len = u16::from_le_bytes(len);
        (usize::from(len & !MARK), len & MARK != 0)
    }

    /// The texts up to the next that is marked, with it.
    fn next_pattern(&mut self) -> Self {
        let count = self.lens.iter().position(|len| Self::read(*len).1).map_or(self.lens.len(), |at| at + 1);
        let (lens, others) = self.lens.split_at(count);
        let (bytes, rest) = split(self.bytes, lens.iter().map(|len| Self::read(*len).0).sum());
        *self = Self { lens: others, bytes: rest };
        Self { lens, bytes }
    }
}

impl<'r> Iterator for Texts<'r> {
    type Item = (&'r [u8], bool);

    fn next(&mut self) -> Option<Self::Item> {
        let (len, others) = self.lens.split_first()?;
        let (len, marked) = Self::read(*len);
        let (text, rest) = split(self.bytes, len);
        *self = Self { lens: others, bytes: rest };
        Some((text, marked))
    }
}

impl DoubleEndedIterator for Texts<'_> {
    fn next_back(&mut self) -> Option<Self::Item> {
        let (len, others) = self.lens.split_last()?;
        let (len, marked) = Self::read(*len);
        let (rest, text) = split(self.bytes, self.bytes.len().saturating_sub(len));
        *self = Self { lens: others, bytes: rest };
        Some((text, marked))
    }
}

/// The first so many bytes, and the others.
fn split(bytes: &[u8], len: usize) -> (&[u8], &[u8]) {
    bytes.split_at_checked(len).unwrap_or((bytes, &[]))
}

/// `host` is a name below `parent`, ignoring ASCII case.
pub(super) fn is_below(host: &[u8], parent: &[u8]) -> bool {
    let above = host.len().checked_sub(parent.len() + 1).filter(|above| *above > 0);
    let Some((_, tail)) = above.map(|above| host.split_at(above)) else { return false };
    tail.strip_prefix(b".").is_some_and(|tail| tail.eq_ignore_ascii_case(parent))
}

/// Whether one of some patterns matches a text, or there is none.
fn matches_any(mut patterns: Texts<'_>, text: &str) -> bool {
    let none = patterns.is_empty();
    while !patterns.is_empty() {
        if matches(patterns.next_pattern(), text.as_bytes()) {
            return true;
        }
    }
    none
}

/// Whether a text begins with the first literal, ends with the last, and has the others between them in their order. Where each
/// is found first is as good as any later place, so that nothing is tried twice. Bytes will do: no character's begin within
/// those of another.
fn matches(mut literals: Texts<'_>, text: &[u8]) -> bool {
    let Some((first, _)) = literals.next() else { return false };
    let Some(rest) = text.strip_prefix(first) else { return false };
    let Some((last, _)) = literals.next_back() else { return rest.is_empty() };
    let Some(mut rest) = rest.strip_suffix(last) else { return false };
    literals.all(|(literal, _)| {
        let found = memmem::find(rest, literal);
        rest = found.and_then(|at| rest.get(at + literal.len()..)).unwrap_or_default();
        found.is_some()
    })
}

/// Whether one pattern matches a text. Of another pattern as the text: whether it matches everything that the other does, for a
/// star is then a character that nothing but a star stands for.
#[must_use]
pub fn glob(pattern: &str, text: &str) -> bool {
    let Made { bytes, entries } = patterns(&[pattern.to_owned()]);
    matches(Texts::of((&bytes, entries)), text.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(change: impl Fn(&mut Allowlist)) -> Vec<u8> {
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
        let passes = |text: &str| Rules::read(&rules).admits_ip(text.parse().ok());
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
            assert!(Rules::read(&rules).admits_origin(good), "{good}");
        }
        for bad in ["", "b.test", "xb.test", ".b.test", "a.test.evil", "ü.b.tesü", "éb.test"] {
            assert!(!Rules::read(&rules).admits_origin(bad), "{bad}");
        }
    }

    #[test]
    fn a_star_stands_for_any_text_wherever_it_stands() {
        let rules = rules(|list| list.models = texts(&["gpt-*-mini", "*/llama*", "o1", "a*b*c", "é*é"]));
        for good in ["gpt-4o-mini", "gpt--mini", "meta/llama", "x/y/llama-3", "o1", "abc", "a-b-b-c-c", "éé", "éxé"]
        {
            assert!(Rules::read(&rules).admits_model(good), "{good}");
        }
        for bad in ["gpt-mini", "gpt-4o-mini-2", "llama", "o", "o11", "acb", "ab", "é", ""] {
            assert!(!Rules::read(&rules).admits_model(bad), "{bad}");
        }
        assert!(
            Rules::read(&rules).admits_endpoint("")
                && Rules::read(&rules).admits_origin("")
                && Rules::read(&rules).admits_ip(None)
        );
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
        assert!(!Rules::read(&rules).admits_model(&"a".repeat(100_000)));
        assert!(Rules::read(&rules).admits_model(&format!("{}b", "a".repeat(100_000))));
    }
}
