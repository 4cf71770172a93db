//! Texts that are nearly keys: of a million none is taken for one, and none does harm.

use std::collections::HashMap;

use tollreeve::pb::tollreeve::v1 as pb;

use crate::harness::{once, random::Random, server::Env, world::World};

once!(of_a_million_random_and_mutated_texts_none_is_taken_for_a_key);

const BASE62: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
const TEXTS: usize = 1_000_000;
/// The last of a key: its checksum.
const CHECKSUM: usize = 6;

/// The text with the checksum that belongs to it: what whoever knows the format would send.
fn completed(body: &[u8]) -> Vec<u8> {
    let mut rest = crc32fast::hash(body);
    let mut digits = [b'0'; CHECKSUM];
    for digit in digits.iter_mut().rev() {
        *digit = BASE62[rest as usize % 62];
        rest /= 62;
    }
    [body, &digits].concat()
}

fn index(random: &mut Random, len: usize) -> usize {
    usize::try_from(random.next() % len as u64).expect("small")
}

/// A text that is not one of `keys`, unless by accident; half of them with a good checksum.
fn nearly(random: &mut Random, keys: &[Vec<u8>]) -> Vec<u8> {
    let mut text = keys[index(random, keys.len())].clone();
    match random.next() % 8 {
        0 => text = (0..index(random, 90)).map(|_| random.next().to_le_bytes()[3]).collect(),
        1 => text.truncate(index(random, text.len())),
        2 => text.insert(index(random, text.len()), random.next().to_le_bytes()[3]),
        3 => {
            // The id of one and the secret of another.
            let other = &keys[index(random, keys.len())];
            let at = text.len() - 38;
            text.truncate(at);
            text.extend_from_slice(&other[other.len() - 38..]);
        }
        4 => {
            let at = index(random, text.len());
            text[at] = text[at].to_ascii_uppercase() ^ (text[at] & 0x20) ^ 0x20;
        }
        5 => text = [text.as_slice(), &keys[index(random, keys.len())]].concat(),
        _ => {
            for _ in 0..=random.next() % 3 {
                let at = index(random, text.len());
                text[at] = BASE62[index(random, 62)];
            }
        }
    }
    if random.once_in(2) && text.len() > CHECKSUM {
        text = completed(&text[..text.len() - CHECKSUM]);
    }
    text
}

async fn of_a_million_random_and_mutated_texts_none_is_taken_for_a_key(env: &mut Env) {
    let world = World::new(env).await;
    let mut genuine = HashMap::from([(world.key.secret.clone().into_bytes(), world.key.name.clone())]);
    for _ in 0..20 {
        let key = world.another_key(pb::Key::default()).await;
        genuine.insert(key.secret.into_bytes(), key.name);
    }
    let keys: Vec<Vec<u8>> = genuine.keys().cloned().collect();
    assert!(keys.iter().all(|key| completed(&key[..key.len() - CHECKSUM]) == *key), "this test knows the format");
    let mut random = Random::fresh("of_a_million_random_and_mutated_texts_none_is_taken_for_a_key");
    let gate = &env.server.app().gate;
    let (mut taken, mut asked) = (0, 0);
    for _ in 0..TEXTS {
        let text = nearly(&mut random, &keys);
        let expected = genuine.get(&text);
        // What is no text cannot be sent.
        let Ok(text) = String::from_utf8(text) else { continue };
        asked += 1;
        let found = gate.key_of(&text).map(|id| id.to_string());
        assert_eq!(found.as_deref(), expected.and_then(|name| name.rsplit('/').next()), "{text:?}");
        taken += usize::from(found.is_some());
    }
    // A change may be none; that is how it is known that keys are found at all.
    assert!(taken > 0 && asked > TEXTS / 2, "{taken} of {asked}");
}
