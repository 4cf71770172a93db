//! What decisions make of allowlists, against matchers that are slow and plain, on random lists and calls.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use tollreeve::domain::{
    keys::Allowlist,
    rules::{Rules, glob},
};

use crate::harness::random::Random;

/// Lists that are tried, and calls with each.
const LISTS: usize = 2_000;
const CALLS: usize = 50;

/// Whether a pattern matches, by trying everything.
fn plain(pattern: &[char], text: &[char]) -> bool {
    match pattern.split_first() {
        None => text.is_empty(),
        Some(('*', rest)) => (0..=text.len()).any(|at| plain(rest, &text[at..])),
        Some((first, rest)) => text.split_first().is_some_and(|(c, text)| c == first && plain(rest, text)),
    }
}

fn matches(pattern: &str, text: &str) -> bool {
    plain(&pattern.chars().collect::<Vec<_>>(), &text.chars().collect::<Vec<_>>())
}

/// A text of few letters, so that much of it is alike; with stars in it or without.
fn text(random: &mut Random, letters: &[char], most: i64) -> String {
    let mut text = String::new();
    for _ in 0..random.within(0, most) {
        let letter = *random.pick(letters);
        if letter != '*' || !text.ends_with('*') {
            text.push(letter);
        }
    }
    text
}

fn some<T>(random: &mut Random, mut one: impl FnMut(&mut Random) -> T) -> Vec<T> {
    (0..random.within(0, 6)).map(|_| one(random)).collect()
}

/// An address out of few networks, of either kind.
fn address(random: &mut Random) -> IpAddr {
    let low = u32::try_from(random.within(0, 40)).expect("small");
    match random.within(0, 2) {
        0 => Ipv4Addr::from_bits(0x0a00_0000 + low).into(),
        1 => Ipv4Addr::from_bits(0x0a00_0000 + low).to_ipv6_mapped().into(),
        _ => Ipv6Addr::from_bits(0x2001_0db8 << 96 | u128::from(low)).into(),
    }
}

fn range(random: &mut Random) -> IpNet {
    let address = address(random).to_canonical();
    let bits = if address.is_ipv4() { 32 } else { 128 };
    let len = u8::try_from(random.within(bits - 5, bits)).expect("small");
    IpNet::new(address, len).expect("a range").trunc()
}

fn host(random: &mut Random) -> String {
    let labels: Vec<String> =
        (0..random.within(1, 3)).map(|_| (*random.pick(&["a", "b", "A", "ab"])).to_owned()).collect();
    labels.join(".")
}

fn is_below(host: &str, parent: &str) -> bool {
    let (host, parent) = (host.to_lowercase(), parent.to_lowercase());
    let (host, parent): (Vec<&str>, Vec<&str>) = (host.split('.').collect(), parent.split('.').collect());
    host.len() > parent.len() && host.ends_with(&parent)
}

#[test]
fn what_is_made_of_a_list_allows_what_the_list_says_and_nothing_else() {
    let mut random = Random::fresh("allowlists");
    let (letters, with_stars) = (['a', 'b', 'é'], ['a', 'b', 'é', '*']);
    for _ in 0..LISTS {
        let list = Allowlist {
            cidrs: some(&mut random, range),
            origins: some(&mut random, |random| {
                let host = host(random).to_lowercase();
                if random.once_in(2) { format!("*.{host}") } else { host }
            }),
            models: some(&mut random, |random| text(random, &with_stars, 7)),
            endpoints: some(&mut random, |random| text(random, &with_stars, 4)),
            permissions: None,
        };
        let Some(made) = Rules::of(&list) else { continue };
        let rules = Rules::read(&made);
        for _ in 0..CALLS {
            let ip = address(&mut random);
            let canonical = ip.to_canonical();
            let wanted = list.cidrs.is_empty() || list.cidrs.iter().any(|range| range.contains(&canonical));
            assert_eq!(rules.admits_ip(Some(ip)), wanted, "{list:?} {ip}");
            let origin = host(&mut random);
            let wanted = list.origins.is_empty()
                || list.origins.iter().any(|allowed| match allowed.strip_prefix("*.") {
                    Some(parent) => is_below(&origin, parent),
                    None => *allowed == origin.to_lowercase(),
                });
            assert_eq!(rules.admits_origin(&format!("https://{origin}:443/")), wanted, "{list:?} {origin}");
            let model = text(&mut random, &letters, 9);
            let any = |patterns: &[String]| patterns.is_empty() || patterns.iter().any(|one| matches(one, &model));
            assert_eq!(rules.admits_model(&model), any(&list.models), "{list:?} {model}");
            assert_eq!(rules.admits_endpoint(&model), any(&list.endpoints), "{list:?} {model}");
        }
    }
}

#[test]
fn a_pattern_that_covers_another_matches_all_that_the_other_does() {
    let mut random = Random::fresh("patterns");
    let (letters, with_stars) = (['a', 'b'], ['a', 'b', '*']);
    let mut covered = 0;
    for _ in 0..20_000 {
        let (wide, narrow) = (text(&mut random, &with_stars, 5), text(&mut random, &with_stars, 5));
        let texts: Vec<String> = (0..20).map(|_| text(&mut random, &letters, 7)).collect();
        let more = texts.iter().find(|text| matches(&narrow, text) && !matches(&wide, text));
        if glob(&wide, &narrow) {
            covered += 1;
            assert_eq!(more, None, "{wide} {narrow}");
        }
    }
    assert!(covered > 100, "{covered}");
}
