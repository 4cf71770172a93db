//! Programs that sign assertions of their own, good ones and any others.

use aws_lc_rs::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _},
};
use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use serde_json::{Value, json};
use tollreeve::{
    domain::time::Clock as _,
    pb::tollreeve::v1::{self as pb},
};
use tonic::Status;

use super::{client::Client, server::Env, world::unique};

/// What comes before the bytes of an Ed25519 key.
pub const ED25519_HEAD: &[u8] = b"\x30\x2a\x30\x05\x06\x03\x2b\x65\x70\x03\x21\x00";
/// What comes before the point of a P-256 key.
pub const P256_HEAD: &[u8] =
    b"\x30\x59\x30\x13\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07\x03\x42\x00";

/// A private key.
pub enum Signer {
    Ed25519(Ed25519KeyPair),
    P256(EcdsaKeyPair),
}

/// Puts a key into a PEM block.
pub fn pem(der: &[u8]) -> String {
    format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", STANDARD.encode(der))
}

/// A part of a JWT.
pub fn part(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

impl Signer {
    pub fn ed25519() -> Self {
        Self::Ed25519(Ed25519KeyPair::generate().expect("a key"))
    }

    pub fn p256() -> Self {
        Self::P256(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).expect("a key"))
    }

    pub fn public(&self) -> &[u8] {
        match self {
            Self::Ed25519(pair) => pair.public_key().as_ref(),
            Self::P256(pair) => pair.public_key().as_ref(),
        }
    }

    pub fn pem(&self) -> String {
        match self {
            Self::Ed25519(_) => pem(&[ED25519_HEAD, self.public()].concat()),
            Self::P256(_) => pem(&[P256_HEAD, self.public()].concat()),
        }
    }

    pub fn alg(&self) -> &'static str {
        match self {
            Self::Ed25519(_) => "EdDSA",
            Self::P256(_) => "ES256",
        }
    }

    pub fn signature(&self, message: &str) -> Vec<u8> {
        match self {
            Self::Ed25519(pair) => pair.sign(message.as_bytes()).as_ref().to_vec(),
            Self::P256(pair) => pair.sign(&SystemRandom::new(), message.as_bytes()).expect("signs").as_ref().to_vec(),
        }
    }

    /// Signs a header and claims as they are.
    pub fn sign(&self, header: impl AsRef<[u8]>, claims: impl AsRef<[u8]>) -> String {
        let message = format!("{}.{}", part(header), part(claims));
        let signature = part(self.signature(&message));
        format!("{message}.{signature}")
    }

    /// Adds the public key to an account; gives the key's name.
    pub async fn register(&self, operator: &Client, account: &str) -> String {
        let key = pb::ServiceAccountKey { public_key_pem: self.pem(), ..pb::ServiceAccountKey::default() };
        let added = add_key(operator, account, key).await.expect("added");
        added.name
    }
}

/// Adds a public key to an account.
pub async fn add_key(
    client: &Client,
    account: &str,
    key: pb::ServiceAccountKey,
) -> Result<pb::ServiceAccountKey, Status> {
    let request = pb::AddServiceAccountKeyRequest {
        parent: account.to_owned(),
        service_account_key: Some(key),
        ..pb::AddServiceAccountKeyRequest::default()
    };
    let answer = client.identity().add_service_account_key(request).await?.into_inner();
    Ok(answer.service_account_key.expect("the key"))
}

/// A program with a key of its account's.
pub struct Program {
    pub signer: Signer,
    pub account: String,
    /// Name of the key.
    pub key: String,
}

impl Program {
    /// Makes a key for an account.
    pub async fn new(signer: Signer, operator: &Client, account: &str) -> Self {
        let key = signer.register(operator, account).await;
        Self { signer, account: account.to_owned(), key }
    }

    pub fn kid(&self) -> &str {
        self.key.rsplit('/').next().expect("a name")
    }

    pub fn header(&self) -> Value {
        json!({"alg": self.signer.alg(), "kid": self.kid(), "typ": "JWT"})
    }

    /// Claims that are good at the moment of the servers.
    pub fn claims(&self, env: &Env) -> Value {
        let now = env.clock.now().micros() / 1_000_000;
        json!({
            "iss": self.account, "sub": self.account, "aud": "tollreeve",
            "iat": now, "exp": now + 60, "jti": unique("jti"),
        })
    }

    /// A good assertion but for what is changed in its claims.
    pub fn assertion(&self, env: &Env, change: impl FnOnce(&mut Value)) -> String {
        let mut claims = self.claims(env);
        change(&mut claims);
        self.signer.sign(self.header().to_string(), claims.to_string())
    }

    /// An access token.
    pub async fn sign_in(&self, env: &Env) -> Result<String, Status> {
        Ok(exchange(&env.operator, self.assertion(env, |_| ())).await?.access_token)
    }
}

/// Exchanges an assertion, as anybody.
pub async fn exchange(client: &Client, assertion: String) -> Result<pb::ExchangeAssertionResponse, Status> {
    let request = pb::ExchangeAssertionRequest { assertion, ttl_seconds: 0 };
    Ok(client.with_token(None).sign_in().exchange_assertion(request).await?.into_inner())
}
