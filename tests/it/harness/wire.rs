//! Messages as bytes: one field is read or given another value, whatever the message is.

use std::ops::Range;

use prost::encoding::{DecodeContext, WireType, bytes, decode_key, decode_varint, skip_field};

/// A field of a message: its number, where it stands, and where what it holds stands.
struct Field {
    number: u32,
    whole: Range<usize>,
    content: Range<usize>,
}

fn fields(message: &[u8]) -> Vec<Field> {
    let (mut fields, mut rest) = (Vec::new(), message);
    while !rest.is_empty() {
        let start = message.len() - rest.len();
        let (number, wire) = decode_key(&mut rest).expect("a good message");
        let mut from = message.len() - rest.len();
        if wire == WireType::LengthDelimited {
            let mut length = rest;
            decode_varint(&mut length).expect("a good message");
            from = message.len() - length.len();
        }
        skip_field(wire, number, &mut rest, DecodeContext::default()).expect("a good message");
        let end = message.len() - rest.len();
        fields.push(Field { number, whole: start..end, content: from..end });
    }
    fields
}

/// The text of a field, given by the numbers of the fields on the way to it; of a list, the last one.
pub fn get(message: &[u8], way: &[u32]) -> Option<String> {
    let found = fields(message).into_iter().rfind(|field| field.number == way[0])?;
    let content = &message[found.content];
    match way {
        [_] => Some(String::from_utf8_lossy(content).into_owned()),
        [_, rest @ ..] => get(content, rest),
        [] => None,
    }
}

/// The message with another text in a field; of a list, instead of the last one. The empty text is none.
pub fn set(message: &[u8], way: &[u32], text: &str) -> Vec<u8> {
    put(message, way, &|number, to| {
        if !text.is_empty() {
            bytes::encode(number, &text.as_bytes().to_vec(), to);
        }
    })
}

/// Everything that stands in a field of the message.
pub fn all(message: &[u8], number: u32) -> Vec<&[u8]> {
    let found = fields(message).into_iter().filter(|field| field.number == number);
    found.map(|field| &message[field.content]).collect()
}

/// The message with a flag set.
pub fn flag(message: &[u8], number: u32) -> Vec<u8> {
    put(message, &[number], &|number, to| prost::encoding::bool::encode(number, &true, to))
}

/// The message with a number in a field.
pub fn number(message: &[u8], number: u32, value: i32) -> Vec<u8> {
    put(message, &[number], &|number, to| prost::encoding::int32::encode(number, &value, to))
}

fn put(message: &[u8], way: &[u32], write: &dyn Fn(u32, &mut Vec<u8>)) -> Vec<u8> {
    let found = fields(message).into_iter().rfind(|field| field.number == way[0]);
    let (before, content, after) = match &found {
        Some(field) => (&message[..field.whole.start], &message[field.content.clone()], &message[field.whole.end..]),
        None => (message, &[][..], &[][..]),
    };
    let mut whole = before.to_vec();
    match way {
        // At the end: of several that exclude each other the last counts.
        [number] => {
            whole.extend_from_slice(after);
            write(*number, &mut whole);
        }
        [number, rest @ ..] => {
            bytes::encode(*number, &put(content, rest, write), &mut whole);
            whole.extend_from_slice(after);
        }
        [] => {}
    }
    whole
}
