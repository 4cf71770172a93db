//! An issuer of ID tokens: a small HTTP server with keys that tests change, and the tokens that it gives.

use std::{
    net::Ipv4Addr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use aws_lc_rs::{
    encoding::{AsDer as _, Pkcs8V1Der},
    rsa::{KeyPair as RsaKeyPair, KeySize},
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use jsonwebtoken::{Algorithm, EncodingKey, Header, jwk::Jwk};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

/// A key that an issuer signs with.
pub struct Signer {
    pub kid: String,
    algorithm: Algorithm,
    key: EncodingKey,
}

impl Signer {
    pub fn new(algorithm: Algorithm, kid: &str) -> Self {
        let key = match algorithm {
            Algorithm::RS256 => {
                let pair = RsaKeyPair::generate(KeySize::Rsa2048).expect("a key");
                let der: Pkcs8V1Der<'_> = pair.as_der().expect("encodes");
                let der: &[u8] = der.as_ref();
                let pem = format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n", wrapped(der));
                EncodingKey::from_rsa_pem(pem.as_bytes()).expect("a key")
            }
            Algorithm::ES256 => {
                let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).expect("a key");
                EncodingKey::from_ec_der(pair.to_pkcs8v1().expect("encodes").as_ref())
            }
            _ => {
                let pair = Ed25519KeyPair::generate().expect("a key");
                EncodingKey::from_ed_der(pair.to_pkcs8v1().expect("encodes").as_ref())
            }
        };
        Self { kid: kid.to_owned(), algorithm, key }
    }

    pub fn sign(&self, claims: &Value) -> String {
        let header = Header { kid: Some(self.kid.clone()), ..Header::new(self.algorithm) };
        jsonwebtoken::encode(&header, claims, &self.key).expect("signs")
    }

    fn jwk(&self) -> Value {
        let mut jwk = Jwk::from_encoding_key(&self.key, self.algorithm).expect("a public key");
        jwk.common.key_id = Some(self.kid.clone());
        serde_json::to_value(jwk).expect("JSON")
    }
}

fn wrapped(der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    text.as_bytes().chunks(64).map(|line| String::from_utf8_lossy(line).into_owned()).collect::<Vec<_>>().join("\n")
}

/// A running issuer.
pub struct Issuer {
    pub url: String,
    keys: Arc<Mutex<Option<Value>>>,
    asked: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

impl Issuer {
    pub async fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
        let url = format!("http://{}/realm", listener.local_addr().expect("an address"));
        let (keys, asked) = (Arc::new(Mutex::new(Some(json!([])))), Arc::new(AtomicUsize::new(0)));
        let (own, known, counted) = (url.clone(), Arc::clone(&keys), Arc::clone(&asked));
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                counted.fetch_add(1, Ordering::SeqCst);
                let keys = known.lock().clone();
                answer(stream, &own, keys).await;
            }
        });
        Self { url, keys, asked, task }
    }

    /// From now on these are its keys.
    pub fn publish(&self, signers: &[&Signer]) {
        *self.keys.lock() = Some(signers.iter().map(|signer| signer.jwk()).collect());
    }

    /// From now on it has nothing to say.
    pub fn go_away(&self) {
        *self.keys.lock() = None;
    }

    /// How often it was asked.
    pub fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

impl Drop for Issuer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn answer(mut stream: TcpStream, url: &str, keys: Option<Value>) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => return,
        }
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let (status, body) = match (head.split(' ').nth(1), keys) {
        (Some("/realm/.well-known/openid-configuration"), Some(_)) => {
            ("200 OK", json!({ "issuer": url, "jwks_uri": format!("{url}/keys"), "token_endpoint": "x" }))
        }
        (Some("/realm/keys"), Some(keys)) => ("200 OK", json!({ "keys": keys })),
        (_, None) => ("503 Service Unavailable", json!({})),
        _ => ("404 Not Found", json!({})),
    };
    let body = body.to_string();
    let head = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
    // Whoever asked may have gone.
    let _ = stream.write_all(format!("{head}{body}").as_bytes()).await;
}
