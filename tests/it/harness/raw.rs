//! Calls by their paths, with bodies as bytes: for tests that walk over every RPC, and for bodies that nobody would send.

use bytes::{Buf as _, BufMut as _, Bytes};
use prost::Message as _;
use prost_types::{FileDescriptorSet, MethodDescriptorProto, field_descriptor_proto::Type};
use tollreeve::{grpc::layers::is_public, pb::DESCRIPTOR_SET};
use tonic::{
    Request, Status,
    codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
};

use super::client::Client;

/// Takes bytes as they are.
#[derive(Clone, Copy, Default)]
struct AsIs;

impl Codec for AsIs {
    type Encode = Vec<u8>;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for AsIs {
    type Item = Vec<u8>;
    type Error = Status;

    fn encode(&mut self, body: Vec<u8>, to: &mut EncodeBuf<'_>) -> Result<(), Status> {
        to.put_slice(&body);
        Ok(())
    }
}

impl Decoder for AsIs {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(from.copy_to_bytes(from.remaining())))
    }
}

/// One RPC of the server.
#[derive(Clone, Debug)]
pub struct Rpc {
    /// `/tollreeve.v1.KeyService/CreateKey`.
    pub path: String,
    /// `CreateKey`.
    pub name: String,
    /// Names of the request's fields.
    pub fields: Vec<String>,
}

impl Rpc {
    /// Whether it changes something, by its name.
    pub fn changes(&self) -> bool {
        const READS: [&str; 9] =
            ["Query", "Export", "Get", "List", "Summarize", "Authorize", "Check", "BatchCheck", "Review"];
        !READS.iter().any(|read| self.name.starts_with(read))
    }

    /// Whether it is for people, by what they know themselves: no token is needed, or one's own alone is good for it.
    pub fn is_personal(&self) -> bool {
        is_public(&self.path) || self.name == "ChangePassword"
    }
}

/// Every RPC of the server's own services, as the descriptors have them.
pub fn rpcs() -> Vec<Rpc> {
    let set = FileDescriptorSet::decode(DESCRIPTOR_SET).expect("descriptors");
    let mut rpcs = Vec::new();
    for file in set.file.iter().filter(|file| file.package() == "tollreeve.v1") {
        for service in &file.service {
            let path = |method: &MethodDescriptorProto| format!("/tollreeve.v1.{}/{}", service.name(), method.name());
            let rpc = |method: &MethodDescriptorProto| Rpc {
                path: path(method),
                name: method.name().to_owned(),
                fields: fields(&set, method.input_type()),
            };
            rpcs.extend(service.method.iter().map(rpc));
        }
    }
    assert!(rpcs.len() > 40, "the descriptors hold the services");
    rpcs
}

fn fields(set: &FileDescriptorSet, message: &str) -> Vec<String> {
    let name = message.rsplit('.').next().unwrap_or_default();
    let mut messages = set.file.iter().flat_map(|file| &file.message_type);
    let found = messages.find(|message| message.name() == name).expect("the request is described");
    found.field.iter().map(|field| field.name().to_owned()).collect()
}

/// A text somewhere in a request: the numbers of the fields on the way to it.
#[derive(Clone, Debug)]
pub struct TextField(Vec<u32>);

impl TextField {
    /// Whether this is the way to it.
    pub fn is(&self, way: &[u32]) -> bool {
        self.0 == way
    }

    /// Adds the text to a request, at its place.
    pub fn append(&self, text: &str, request: &mut Vec<u8>) {
        let mut inner = text.as_bytes().to_vec();
        for number in self.0.iter().rev() {
            let mut outer = Vec::new();
            prost::encoding::bytes::encode(*number, &inner, &mut outer);
            inner = outer;
        }
        request.extend_from_slice(&inner);
    }
}

/// Every text in the request of an RPC, in the messages in it as well.
pub fn texts_of(path: &str) -> Vec<TextField> {
    let set = FileDescriptorSet::decode(DESCRIPTOR_SET).expect("descriptors");
    let services = set.file.iter().flat_map(|file| &file.service);
    let mut methods = services.flat_map(|service| {
        let name = service.name().to_owned();
        service.method.iter().map(move |method| (format!("/tollreeve.v1.{name}/{}", method.name()), method))
    });
    let (_, method) = methods.find(|(known, _)| known == path).expect("a method");
    let mut found = Vec::new();
    collect(&set, method.input_type(), &[], &mut found);
    found
}

fn collect(set: &FileDescriptorSet, message: &str, way: &[u32], found: &mut Vec<TextField>) {
    let Some(message) = message.strip_prefix(".tollreeve.v1.") else { return };
    let mut messages = set.file.iter().flat_map(|file| &file.message_type);
    // What is not found is nested: the entries of a map.
    let Some(message) = messages.find(|known| known.name() == message) else { return };
    for field in &message.field {
        let way = [way, &[field.number().unsigned_abs()]].concat();
        match field.r#type() {
            Type::String => found.push(TextField(way)),
            Type::Message if way.len() < 4 => collect(set, field.type_name(), &way, found),
            _ => {}
        }
    }
}

/// Calls an RPC with a body as it is.
pub async fn call(client: &Client, path: &str, body: Vec<u8>) -> Result<Bytes, Status> {
    let mut grpc = tonic::client::Grpc::new(client.raw());
    grpc.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
    let path = path.parse().expect("a path");
    Ok(grpc.unary(Request::new(body), path, AsIs).await?.into_inner())
}
