//! The fields of requests that refer to something, as the comments of the messages have them: `tenants/acme/...`.

use prost::Message as _;
use prost_types::{DescriptorProto, FileDescriptorSet, field_descriptor_proto::Type};
use tollreeve::pb::DESCRIPTOR_SET;

/// A field that refers to something by its name.
#[derive(Clone, Debug)]
pub struct IdField {
    /// The numbers of the fields on the way to it.
    pub way: Vec<u32>,
    /// As errors name it, without positions in lists: `user.teams`.
    pub name: String,
    /// What its comment shows: `tenants/acme/teams/core`, `roles/developer`.
    pub examples: Vec<String>,
    /// Whether it must be given.
    pub required: bool,
}

/// The number of a field of an RPC's request.
pub fn number_of(path: &str, field: &str) -> Option<u32> {
    let set = FileDescriptorSet::decode(DESCRIPTOR_SET).expect("descriptors");
    let (_, message) = find(&set, &input_of(&set, path))?;
    let found = message.field.iter().find(|known| known.name() == field)?;
    Some(found.number().unsigned_abs())
}

/// Every field in the request of an RPC that refers to something, in the messages in it as well; not what the server fills in.
pub fn ids_of(path: &str) -> Vec<IdField> {
    let set = FileDescriptorSet::decode(DESCRIPTOR_SET).expect("descriptors");
    let mut found = Vec::new();
    let update = path.contains("/Update");
    collect(&set, &input_of(&set, path), &(Vec::new(), String::new()), update, &mut found);
    found
}

fn input_of(set: &FileDescriptorSet, path: &str) -> String {
    let (service, method) = path.trim_start_matches("/tollreeve.v1.").split_once('/').expect("a path");
    let mut services = set.file.iter().flat_map(|file| &file.service);
    let service = services.find(|known| known.name() == service).expect("a service");
    let method = service.method.iter().find(|known| known.name() == method).expect("a method");
    method.input_type().trim_start_matches(".tollreeve.v1.").to_owned()
}

/// A message and the comments of its fields.
fn find<'s>(set: &'s FileDescriptorSet, name: &str) -> Option<(Vec<String>, &'s DescriptorProto)> {
    let file = set.file.iter().find(|file| file.message_type.iter().any(|message| message.name() == name))?;
    let at = file.message_type.iter().position(|message| message.name() == name)?;
    let message = &file.message_type[at];
    let comment = |field: usize| {
        let path = [4, at, 2, field].map(|step| i32::try_from(step).expect("a small file"));
        let mut locations = file.source_code_info.iter().flat_map(|info| &info.location);
        locations.find(|known| known.path == path).map(|known| known.leading_comments().to_owned()).unwrap_or_default()
    };
    Some(((0..message.field.len()).map(comment).collect(), message))
}

fn collect(
    set: &FileDescriptorSet,
    message: &str,
    (way, path): &(Vec<u32>, String),
    update: bool,
    found: &mut Vec<IdField>,
) {
    let Some((comments, message)) = find(set, message) else { return };
    for (field, comment) in message.field.iter().zip(comments) {
        let way = [way.as_slice(), &[field.number().unsigned_abs()]].concat();
        let dot = if path.is_empty() { "" } else { "." };
        let name = format!("{path}{dot}{}", field.name());
        // `name` of a record is what an update goes by, and filled in otherwise.
        let given =
            if update { !comment.contains("Output only") } else { !comment.to_lowercase().contains("output only") };
        let examples: Vec<String> = comment
            .split('`')
            .filter(|text| text.starts_with("tenants/") || text.starts_with("roles/"))
            .map(str::to_owned)
            .collect();
        match field.r#type() {
            Type::String if given && !examples.is_empty() => {
                // What is required of a new record need not be in an update of it.
                let kept = update && way.len() > 1 && field.name() != "name";
                let required = comment.contains("Required") && !kept;
                found.push(IdField { way, name, examples, required });
            }
            Type::Message if way.len() < 4 && given => {
                let inner = field.type_name().trim_start_matches(".tollreeve.v1.").to_owned();
                collect(set, &inner, &(way, name), update, found);
            }
            _ => {}
        }
    }
}
