//! Configuration: the only reader of flags, environment and files. Parse first, then validate, then nothing changes.
//!
//! A setting is looked for among the flags, then in the environment, then in the file, then it has its default. An
//! unknown setting, wherever it stands, ends the start: a typing error must not become a default.

pub mod mail;
pub mod peppers;

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    time::Duration,
};

use clap::Args;
use secrecy::SecretString;
use serde::Deserialize;

use crate::{
    domain::{
        identity_providers::{Issuer, IssuerError},
        spiffe::TrustDomain,
    },
    store::connect::Settings,
};

/// Begins the name of every environment variable that belongs to this program.
const ENV_PREFIX: &str = "TOLLREEVE_";
/// Variables that other commands of this program read; no settings of the server.
const CLIENT_ENV: [&str; 9] = [
    "TOLLREEVE_SERVER",
    "TOLLREEVE_TOKEN",
    "TOLLREEVE_TENANT",
    "TOLLREEVE_LOGIN_FILE",
    "TOLLREEVE_API_KEY",
    "TOLLREEVE_CONFIG",
    "TOLLREEVE_CA_FILE",
    "TOLLREEVE_CERT_FILE",
    "TOLLREEVE_KEY_FILE",
];

/// The settings as they are given, in any of the three places.
#[derive(Args, Deserialize, Clone, Debug, Default)]
#[serde(deny_unknown_fields, default)]
pub struct Options {
    /// Address to listen on [default: 127.0.0.1:50051]
    #[arg(long, env = "TOLLREEVE_LISTEN")]
    pub listen: Option<SocketAddr>,
    /// Listen in plain text on an address that others can reach
    #[arg(long, env = "TOLLREEVE_ALLOW_REMOTE_PLAINTEXT", num_args = 0..=1, default_missing_value = "true")]
    pub allow_remote_plaintext: Option<bool>,
    /// PEM file with the certificate that the server shows, and those between it and its authority. Read again when it changes
    #[arg(long, env = "TOLLREEVE_TLS_CERT_FILE")]
    pub tls_cert_file: Option<PathBuf>,
    /// PEM file with the private key of that certificate. Read again when it changes
    #[arg(long, env = "TOLLREEVE_TLS_KEY_FILE")]
    pub tls_key_file: Option<PathBuf>,
    /// PEM file with the authorities whose certificates clients may show. Read again when it changes
    #[arg(long, env = "TOLLREEVE_TLS_CLIENT_CA_FILE")]
    pub tls_client_ca_file: Option<PathBuf>,
    /// Whether a client must show a certificate, when there are authorities for them [default: required]
    #[arg(long, env = "TOLLREEVE_TLS_CLIENT_AUTH")]
    pub tls_client_auth: Option<ClientAuth>,
    /// Trust domains, `prod.example`, whose SPIFFE ids in client certificates name service accounts; with commas between them
    #[arg(long, env = "TOLLREEVE_SPIFFE_TRUST_DOMAINS", value_delimiter = ',')]
    pub spiffe_trust_domains: Option<Vec<String>>,
    /// `OpenID` Connect issuers, <https://accounts.example>, that tenants may let their users sign in by; with commas between them
    #[arg(long, env = "TOLLREEVE_OIDC_ISSUERS", value_delimiter = ',')]
    pub oidc_issuers: Option<Vec<String>>,
    /// Folder of the embedded database and the key files [default: ./tollreeve-data]
    #[arg(long, env = "TOLLREEVE_DATA_DIR")]
    pub data_dir: Option<PathBuf>,
    /// `PostgreSQL` to use in place of the embedded database: <postgres://user:password@host/database>
    #[arg(long, env = "TOLLREEVE_DATABASE_URL", hide_env_values = true)]
    pub database_url: Option<SecretString>,
    /// Folder of the key files [default: keys in the data folder]
    #[arg(long, env = "TOLLREEVE_KEYS_DIR")]
    pub keys_dir: Option<PathBuf>,
    /// Peppers in place of files: `1=...,2=...`, each 64 hexadecimal digits; with commas between them
    #[arg(long, env = "TOLLREEVE_PEPPERS", hide_env_values = true)]
    pub peppers: Option<SecretString>,
    /// Threads that serve calls [default: one per core]
    #[arg(long, env = "TOLLREEVE_THREADS")]
    pub threads: Option<usize>,
    /// Seconds that a hold stays after its end, for charges on their way; 15 to 900 [default: 120]
    #[arg(long, env = "TOLLREEVE_HOLD_GRACE_SECONDS")]
    pub hold_grace_seconds: Option<u64>,
    /// Seconds that this server goes on deciding while it cannot reach the database; 0 to 3600 [default: 60]. When it is one
    /// of many, others wait that much longer before they take it for dead
    #[arg(long, env = "TOLLREEVE_MAX_STALE_SECONDS")]
    pub max_stale_seconds: Option<u64>,
    /// Names the place that this server runs in, as a pod of a `StatefulSet`: only where at most one runs at a time. Whoever
    /// starts there takes the place of the last one at once
    #[arg(long, env = "TOLLREEVE_IDENTITY")]
    pub identity: Option<String>,
    /// Server that takes mails: <smtps://user:password@host> or <smtp://user:password@host:587?tls=required>, which is STARTTLS.
    /// Without one no mail is sent, and links are shown to whoever may invite
    #[arg(long, env = "TOLLREEVE_SMTP_URL", hide_env_values = true)]
    pub smtp_url: Option<SecretString>,
    /// PEM file with the authorities that the mail server's certificate may be of, beside those that the machine trusts
    #[arg(long, env = "TOLLREEVE_SMTP_CA_FILE")]
    pub smtp_ca_file: Option<PathBuf>,
    /// Whom mails are from, `Acme <no-reply@example.com>`
    #[arg(long, env = "TOLLREEVE_MAIL_FROM")]
    pub mail_from: Option<String>,
    /// What links in mails begin with: where the front end is, <https://ai.example.com>
    #[arg(long, env = "TOLLREEVE_PUBLIC_URL")]
    pub public_url: Option<String>,
    /// Most Authorize and Charge calls under way at once [default: 20000]
    #[arg(long, env = "TOLLREEVE_MAX_GATE_CALLS")]
    pub max_gate_calls: Option<usize>,
    /// Most management calls under way at once [default: 512]
    #[arg(long, env = "TOLLREEVE_MAX_MANAGEMENT_CALLS")]
    pub max_management_calls: Option<usize>,
    /// What to log, as in `info` or `tollreeve=debug` [default: info]
    #[arg(long, env = "TOLLREEVE_LOG")]
    pub log: Option<String>,
    /// How to log: text or json [default: text]
    #[arg(long, env = "TOLLREEVE_LOG_FORMAT")]
    pub log_format: Option<LogFormat>,
    /// OpenTelemetry collector to send traces to, by OTLP over gRPC: <http://host:4317>
    #[arg(long, env = "TOLLREEVE_OTLP_ENDPOINT")]
    pub otlp_endpoint: Option<String>,
    /// Share of the calls that are traced when the caller does not say; 0 to 1 [default: 0.01]
    #[arg(long, env = "TOLLREEVE_TRACE_RATIO")]
    pub trace_ratio: Option<f64>,
}

/// Whether a client must show a certificate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum ClientAuth {
    /// It may: one without has a bearer token.
    Optional,
    /// It must.
    #[default]
    Required,
}

/// TLS on the listener.
#[derive(Clone, Debug)]
pub struct TlsConfig {
    /// PEM file with the certificate and those between it and its authority.
    pub cert_file: PathBuf,
    /// PEM file with the private key.
    pub key_file: PathBuf,
    /// Certificates of clients; `None`: none are asked for.
    pub clients: Option<ClientsConfig>,
}

/// Certificates of clients.
#[derive(Clone, Debug)]
pub struct ClientsConfig {
    /// PEM file with their authorities.
    pub ca_file: PathBuf,
    /// Whether one must be shown.
    pub auth: ClientAuth,
    /// Trust domains whose SPIFFE ids name service accounts; with none, a certificate opens a connection and names nobody.
    pub trust_domains: Vec<TrustDomain>,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// The settings, complete and checked.
#[derive(Clone, Debug)]
pub struct Config {
    /// Address to listen on.
    pub listen: SocketAddr,
    /// TLS; `None`: plain text.
    pub tls: Option<TlsConfig>,
    /// Folder of what the server keeps beside a database elsewhere, and of the database that it embeds.
    pub data_dir: PathBuf,
    /// Where the database is.
    pub database: Settings,
    /// Folder of the key files.
    pub keys_dir: PathBuf,
    /// Peppers in place of files.
    pub peppers: Option<Vec<peppers::GivenPepper>>,
    /// Threads that serve calls; at least 1.
    pub threads: usize,
    /// How long a hold stays after its end.
    pub hold_grace: Duration,
    /// How long the server goes on deciding while it cannot reach the database.
    pub max_stale: Duration,
    /// Issuers that tenants may let their users sign in by.
    pub oidc_issuers: Vec<Issuer>,
    /// Names the place that the server runs in; empty for none.
    pub identity: String,
    /// How mails leave.
    pub mail: mail::MailConfig,
    /// Most calls under way at once.
    pub limits: crate::grpc::layers::shed::Limits,
    /// What and how to log.
    pub telemetry: TelemetryConfig,
}

/// What the server says of itself.
#[derive(Clone, Debug)]
pub struct TelemetryConfig {
    /// What to log.
    pub log: String,
    /// How.
    pub format: LogFormat,
    /// Where to send traces.
    pub otlp_endpoint: Option<String>,
    /// Share of the calls that are traced when the caller does not say.
    pub trace_ratio: f64,
}

/// A setting cannot be.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// Its value cannot be.
    #[error("{setting}: {why}")]
    Value {
        /// The setting, as the file names it.
        setting: &'static str,
        /// What is wrong with it.
        why: String,
    },
    /// There is no such setting.
    #[error("{0} is not a setting of this version; `tollreeve serve --help` lists them")]
    Unknown(String),
    /// The file cannot be read.
    #[error("{path}: {why}")]
    File {
        /// Which file.
        path: PathBuf,
        /// Why not; for a mistake in it, with line and column.
        why: String,
    },
}

impl Options {
    /// Fills in from a file what is not set.
    ///
    /// # Errors
    /// [`ConfigError::File`], with line and column of the mistake.
    pub fn or_file(self, path: &Path) -> Result<Self, ConfigError> {
        let bad = |why: String| ConfigError::File { path: path.to_owned(), why };
        let text = std::fs::read_to_string(path).map_err(|error| bad(error.to_string()))?;
        let file: Self = toml::from_str(&text).map_err(|error| bad(error.to_string()))?;
        Ok(Self {
            listen: self.listen.or(file.listen),
            allow_remote_plaintext: self.allow_remote_plaintext.or(file.allow_remote_plaintext),
            tls_cert_file: self.tls_cert_file.or(file.tls_cert_file),
            tls_key_file: self.tls_key_file.or(file.tls_key_file),
            tls_client_ca_file: self.tls_client_ca_file.or(file.tls_client_ca_file),
            tls_client_auth: self.tls_client_auth.or(file.tls_client_auth),
            spiffe_trust_domains: self.spiffe_trust_domains.or(file.spiffe_trust_domains),
            oidc_issuers: self.oidc_issuers.or(file.oidc_issuers),
            data_dir: self.data_dir.or(file.data_dir),
            database_url: self.database_url.or(file.database_url),
            keys_dir: self.keys_dir.or(file.keys_dir),
            peppers: self.peppers.or(file.peppers),
            threads: self.threads.or(file.threads),
            hold_grace_seconds: self.hold_grace_seconds.or(file.hold_grace_seconds),
            max_stale_seconds: self.max_stale_seconds.or(file.max_stale_seconds),
            identity: self.identity.or(file.identity),
            smtp_url: self.smtp_url.or(file.smtp_url),
            smtp_ca_file: self.smtp_ca_file.or(file.smtp_ca_file),
            mail_from: self.mail_from.or(file.mail_from),
            public_url: self.public_url.or(file.public_url),
            max_gate_calls: self.max_gate_calls.or(file.max_gate_calls),
            max_management_calls: self.max_management_calls.or(file.max_management_calls),
            log: self.log.or(file.log),
            log_format: self.log_format.or(file.log_format),
            otlp_endpoint: self.otlp_endpoint.or(file.otlp_endpoint),
            trace_ratio: self.trace_ratio.or(file.trace_ratio),
        })
    }

    /// Checks every setting and completes them.
    ///
    /// # Errors
    /// [`ConfigError::Value`].
    pub fn validate(self) -> Result<Config, ConfigError> {
        let bad = |setting, why: &str| ConfigError::Value { setting, why: why.to_owned() };
        let listen = self.listen.unwrap_or_else(|| (Ipv4Addr::LOCALHOST, 50051).into());
        let (tls, mail) = (self.tls()?, mail::MailConfig::of(&self)?);
        let peppers = self.peppers.as_ref().map(peppers::parse).transpose()?;
        if !listen.ip().is_loopback() && tls.is_none() && self.allow_remote_plaintext != Some(true) {
            return Err(bad(
                "listen",
                "others could reach this address, and keys would cross the network in plain text: set tls_cert_file and \
                 tls_key_file, listen on a loopback address behind a proxy that ends TLS, or set allow_remote_plaintext",
            ));
        }
        let data_dir = self.data_dir.unwrap_or_else(|| PathBuf::from("tollreeve-data"));
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let threads = self.threads.unwrap_or(cores);
        if !(1..=1024).contains(&threads) {
            return Err(bad("threads", "must be 1 to 1024"));
        }
        let grace = self.hold_grace_seconds.unwrap_or(120);
        if !(1..=900).contains(&grace) {
            return Err(bad("hold_grace_seconds", "must be 1 to 900"));
        }
        let stale = self.max_stale_seconds.unwrap_or(60);
        if stale > 3600 {
            return Err(bad("max_stale_seconds", "must be 0 to 3600"));
        }
        let issuer =
            |text: &String| text.parse().map_err(|why: IssuerError| bad("oidc_issuers", &format!("{text:?} {why}")));
        let oidc_issuers = self.oidc_issuers.iter().flatten().map(issuer).collect::<Result<_, _>>()?;
        let identity = self.identity.unwrap_or_default();
        if identity.len() > 253 || identity.chars().any(char::is_control) {
            return Err(bad("identity", "must be at most 253 bytes, without control characters"));
        }
        let limits = crate::grpc::layers::shed::Limits {
            gate: self.max_gate_calls.unwrap_or(20_000),
            management: self.max_management_calls.unwrap_or(512),
        };
        if limits.gate == 0 || limits.management == 0 {
            return Err(bad("max_gate_calls, max_management_calls", "must be at least 1"));
        }
        let trace_ratio = self.trace_ratio.unwrap_or(0.01);
        if !(0.0..=1.0).contains(&trace_ratio) {
            return Err(bad("trace_ratio", "must be 0 to 1"));
        }
        Ok(Config {
            listen,
            tls,
            keys_dir: self.keys_dir.unwrap_or_else(|| data_dir.join("keys")),
            peppers,
            database: match self.database_url {
                Some(url) => Settings::Postgres { url },
                None => Settings::Sqlite { folder: data_dir.clone() },
            },
            data_dir,
            oidc_issuers,
            threads,
            hold_grace: Duration::from_secs(grace),
            max_stale: Duration::from_secs(stale),
            identity,
            mail,
            limits,
            telemetry: TelemetryConfig {
                log: self.log.unwrap_or_else(|| "info".to_owned()),
                format: self.log_format.unwrap_or_default(),
                otlp_endpoint: self.otlp_endpoint,
                trace_ratio,
            },
        })
    }
}

impl Options {
    /// What is set of TLS, when it fits together.
    fn tls(&self) -> Result<Option<TlsConfig>, ConfigError> {
        let bad = |setting, why: &str| Err(ConfigError::Value { setting, why: why.to_owned() });
        let (cert_file, key_file) = match (&self.tls_cert_file, &self.tls_key_file) {
            (Some(cert), Some(key)) => (cert.clone(), key.clone()),
            (Some(_), None) => return bad("tls_key_file", "is needed with tls_cert_file"),
            (None, Some(_)) => return bad("tls_cert_file", "is needed with tls_key_file"),
            (None, None) if self.tls_client_ca_file.is_some() => {
                return bad("tls_cert_file", "is needed with tls_client_ca_file");
            }
            (None, None) => {
                return if self.tls_client_auth.is_some() || self.spiffe_trust_domains.is_some() {
                    bad("tls_client_ca_file", "is needed with tls_client_auth and spiffe_trust_domains")
                } else {
                    Ok(None)
                };
            }
        };
        let mut trust_domains = Vec::new();
        for domain in self.spiffe_trust_domains.iter().flatten() {
            match domain.parse() {
                Ok(domain) => trust_domains.push(domain),
                Err(why) => return bad("spiffe_trust_domains", &format!("{domain:?} {why}")),
            }
        }
        let clients = match &self.tls_client_ca_file {
            Some(ca_file) => {
                let auth = self.tls_client_auth.unwrap_or_default();
                Some(ClientsConfig { ca_file: ca_file.clone(), auth, trust_domains })
            }
            None if self.tls_client_auth.is_some() || !trust_domains.is_empty() => {
                return bad("tls_client_ca_file", "is needed with tls_client_auth and spiffe_trust_domains");
            }
            None => None,
        };
        Ok(Some(TlsConfig { cert_file, key_file, clients }))
    }
}

/// Makes sure that every variable of the environment that is meant for this program is one that it knows.
///
/// # Errors
/// [`ConfigError::Unknown`].
pub fn check_environment<'a>(names: impl IntoIterator<Item = &'a str>) -> Result<(), ConfigError> {
    // The tests' own settings are no mistake of whoever runs them.
    const TESTS: &str = "TOLLREEVE_TEST_";
    let command = Options::augment_args(clap::Command::new("settings"));
    let known: Vec<String> = command
        .get_arguments()
        .filter_map(|argument| Some(argument.get_env()?.to_string_lossy().into_owned()))
        .collect();
    for name in names {
        if name.starts_with(ENV_PREFIX)
            && !name.starts_with(TESTS)
            && !CLIENT_ENV.contains(&name)
            && !known.iter().any(|known| known == name)
        {
            return Err(ConfigError::Unknown(name.to_owned()));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_variable_is_refused_and_a_known_one_is_not() {
        assert!(check_environment(["PATH", "TOLLREEVE_LISTEN", "TOLLREEVE_TOKEN", "TOLLREEVE_LOGIN_FILE"]).is_ok());
        assert!(check_environment(["TOLLREEVE_LISTEM"]).is_err());
    }

    #[test]
    fn an_address_that_others_reach_is_refused_unless_asked_for() {
        let options = |allow| Options {
            listen: Some("0.0.0.0:1".parse().expect("an address")),
            allow_remote_plaintext: allow,
            ..Options::default()
        };
        assert!(options(None).validate().is_err());
        assert!(options(Some(true)).validate().is_ok());
    }

    #[test]
    fn what_is_set_of_tls_must_fit_together() {
        let file = || Some(PathBuf::from("f.pem"));
        let tls = |cert, key, ca, auth, domains: Option<&str>| Options {
            tls_cert_file: cert,
            tls_key_file: key,
            tls_client_ca_file: ca,
            tls_client_auth: auth,
            spiffe_trust_domains: domains.map(|domain| vec![domain.to_owned()]),
            listen: Some("0.0.0.0:1".parse().expect("an address")),
            ..Options::default()
        };
        let setting = |options: Options| match options.validate() {
            Err(ConfigError::Value { setting, .. }) => setting,
            other => panic!("{other:?}"),
        };
        assert_eq!(setting(tls(file(), None, None, None, None)), "tls_key_file");
        assert_eq!(setting(tls(None, file(), None, None, None)), "tls_cert_file");
        assert_eq!(setting(tls(None, None, file(), None, None)), "tls_cert_file");
        assert_eq!(setting(tls(file(), file(), None, Some(ClientAuth::Optional), None)), "tls_client_ca_file");
        assert_eq!(setting(tls(None, None, None, None, Some("prod.example"))), "tls_client_ca_file");
        assert_eq!(setting(tls(file(), file(), file(), None, Some("Prod.Example"))), "spiffe_trust_domains");
        let config = tls(file(), file(), file(), None, Some("prod.example")).validate().expect("it fits, and is TLS");
        let clients = config.tls.and_then(|tls| tls.clients).expect("clients");
        assert_eq!((clients.auth, clients.trust_domains.len()), (ClientAuth::Required, 1));
    }

    #[test]
    fn a_file_fills_in_what_is_not_set_and_a_mistake_in_it_is_named_by_its_line() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("tollreeve.toml");
        std::fs::write(&path, "threads = 3\nlog = \"debug\"\n").expect("written");
        let options = Options { threads: Some(5), ..Options::default() }.or_file(&path).expect("read");
        assert_eq!((options.threads, options.log.as_deref()), (Some(5), Some("debug")));
        std::fs::write(&path, "threads = 3\nlisten_to = \"x\"\n").expect("written");
        let error = Options::default().or_file(&path).expect_err("unknown").to_string();
        assert!(error.contains("line 2") && error.contains("listen_to"), "{error}");
    }
}
