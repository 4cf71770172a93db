//! Messages of the contract as people and programs read them, whatever message it is: by its descriptor.

use std::sync::LazyLock;

use anyhow::Context as _;
use base64::{Engine as _, prelude::BASE64_STANDARD};
use prost::Message;
use prost_reflect::{
    DescriptorPool, DynamicMessage, FieldDescriptor, Kind, MapKey, ReflectMessage as _, Value as Field,
};
use serde_json::Value;

use crate::pb;

/// Every message of the contract.
static CONTRACT: LazyLock<Option<DescriptorPool>> = LazyLock::new(|| DescriptorPool::decode(pb::DESCRIPTOR_SET).ok());

/// A message with its descriptor.
///
/// # Errors
/// Never for a message of the contract.
pub fn described<M: Message>(message: &M) -> anyhow::Result<DynamicMessage> {
    // `tollreeve::pb::tollreeve::v1::Tenant` is `tollreeve.v1.Tenant` in the contract.
    let name = std::any::type_name::<M>().rsplit("::").next().unwrap_or_default();
    let pool = CONTRACT.as_ref().context("this program's own contract cannot be read")?;
    let descriptor = pool.get_message_by_name(&format!("tollreeve.v1.{name}"));
    let descriptor = descriptor.with_context(|| format!("`{name}` is no message of the contract"))?;
    Ok(DynamicMessage::decode(descriptor, message.encode_to_vec().as_slice())?)
}

/// The message as JSON, as proto3 says, with two choices that hold everywhere: 64-bit integers are numbers, so that nothing
/// is quoted that is counted; and a field that has its default is there, so that a script finds it.
#[must_use]
pub fn json(message: &DynamicMessage) -> Value {
    if let Some(text) = well_known(message) {
        return text.into();
    }
    let descriptor = message.descriptor();
    let there = descriptor.fields().filter(|field| message.has_field(field) || !field.supports_presence());
    there.map(|field| (field.json_name().to_owned(), json_of(&field.kind(), &message.get_field(&field)))).collect()
}

fn json_of(kind: &Kind, value: &Field) -> Value {
    match value {
        Field::Bool(value) => (*value).into(),
        Field::I32(value) => (*value).into(),
        Field::I64(value) => (*value).into(),
        Field::U32(value) => (*value).into(),
        Field::U64(value) => (*value).into(),
        Field::F32(value) => (*value).into(),
        Field::F64(value) => (*value).into(),
        Field::String(text) => text.as_str().into(),
        Field::Bytes(bytes) => BASE64_STANDARD.encode(bytes).into(),
        Field::EnumNumber(number) => choice(kind, *number).map_or_else(|| (*number).into(), Into::into),
        Field::Message(message) => json(message),
        Field::List(list) => list.iter().map(|value| json_of(kind, value)).collect(),
        Field::Map(map) => {
            let inner = kind.as_message().and_then(|entry| entry.get_field_by_name("value"));
            let kind = inner.map_or(Kind::String, |field| field.kind());
            map.iter().map(|(key, value)| (key_text(key), json_of(&kind, value))).collect()
        }
    }
}

fn key_text(key: &MapKey) -> String {
    match key {
        MapKey::String(text) => text.clone(),
        MapKey::Bool(key) => key.to_string(),
        MapKey::I32(key) => key.to_string(),
        MapKey::I64(key) => key.to_string(),
        MapKey::U32(key) => key.to_string(),
        MapKey::U64(key) => key.to_string(),
    }
}

/// The name of an enum's value.
fn choice(kind: &Kind, number: i32) -> Option<String> {
    Some(kind.as_enum()?.get_value(number)?.name().to_owned())
}

/// Times and spans are texts.
fn well_known(message: &DynamicMessage) -> Option<String> {
    match message.descriptor().full_name() {
        "google.protobuf.Timestamp" => Some(message.transcode_to::<prost_types::Timestamp>().ok()?.to_string()),
        "google.protobuf.Duration" => Some(message.transcode_to::<prost_types::Duration>().ok()?.to_string()),
        _ => None,
    }
}

/// A field of the message for people; `-` when there is nothing. A path goes through messages: `policies.spending`.
#[must_use]
pub fn cell(message: &DynamicMessage, path: &str) -> String {
    let (first, rest) = path.split_once('.').unwrap_or((path, ""));
    let field = message.descriptor().get_field_by_name(first);
    // A message that is not there is not one full of zeros: a time would be in 1970.
    let there = field.filter(|field| message.has_field(field) || !field.supports_presence());
    let text = there.map(|field| {
        let value = message.get_field(&field);
        match (&*value, rest) {
            (_, "") => text_of(&field, &value),
            (Field::Message(inner), rest) => cell(inner, rest),
            _ => String::new(),
        }
    });
    text.filter(|text| !text.is_empty()).unwrap_or_else(|| "-".to_owned())
}

/// Every field of the message that says something, in the order of the contract: what it is called, and what it is.
#[must_use]
pub fn lines(message: &DynamicMessage) -> Vec<(String, String)> {
    let mut lines = Vec::new();
    for field in message.descriptor().fields().filter(|field| message.has_field(field)) {
        let label = field.name().replace('_', " ");
        let value = message.get_field(&field);
        match &*value {
            Field::Message(inner) if well_known(inner).is_none() => {
                lines.extend(self::lines(inner).into_iter().map(|(name, text)| (format!("{label}: {name}"), text)));
            }
            _ => lines.push((label, text_of(&field, &value))),
        }
    }
    lines
}

fn text_of(field: &FieldDescriptor, value: &Field) -> String {
    match value {
        Field::EnumNumber(number) => plain_choice(&field.kind(), *number),
        Field::String(text) => text.clone(),
        Field::Message(message) => for_people(message),
        Field::List(list) => list.iter().map(|value| text_of(field, value)).collect::<Vec<_>>().join(", "),
        other => json_of(&field.kind(), other).to_string(),
    }
}

/// `ACTIVE` for `LIFECYCLE_ACTIVE`: without what every value of the enum begins with. Nothing for the value that stands for none.
fn plain_choice(kind: &Kind, number: i32) -> String {
    let name = choice(kind, number).unwrap_or_else(|| number.to_string());
    let none = choice(kind, 0).unwrap_or_default();
    let prefix = none.trim_end_matches("UNSPECIFIED");
    if number == 0 { String::new() } else { name.trim_start_matches(prefix).to_owned() }
}

/// A point in time to the second, a span in the largest unit that it fills.
fn for_people(message: &DynamicMessage) -> String {
    let text = well_known(message).unwrap_or_default();
    if let Ok(span) = message.transcode_to::<prost_types::Duration>()
        && message.descriptor().full_name() == "google.protobuf.Duration"
    {
        let units = [(86_400, "d"), (3_600, "h"), (60, "m"), (1, "s")];
        let unit = units.into_iter().find(|(seconds, _)| span.seconds >= *seconds).unwrap_or(units[3]);
        return format!("{}{}", span.seconds / unit.0, unit.1);
    }
    match text.split_once('.') {
        Some((whole, rest)) if rest.ends_with('Z') => format!("{whole}Z"),
        _ => text,
    }
}
