//! Authorities and the certificates that they sign, made for a test.

use std::{fs, path::Path, time::Duration};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, SanType};

/// A certificate and its key, as PEM.
#[derive(Clone)]
pub struct Pair {
    pub certificate: String,
    pub key: String,
}

/// An authority.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    /// Its own certificate, as PEM.
    pub pem: String,
}

impl Authority {
    pub fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().expect("a key");
        let pem = params.self_signed(&key).expect("it signs").pem();
        Self { issuer: Issuer::new(params, key), pem }
    }

    /// A certificate for a server on this machine.
    pub fn server(&self) -> Pair {
        self.sign(CertificateParams::new(["127.0.0.1".to_owned(), "localhost".to_owned()]).expect("names"))
    }

    /// A certificate for a server of this name, good to the tenth of March of a year. Who sends mails goes by the machine's
    /// clock, not by a test's.
    pub fn server_until(&self, name: &str, year: i32) -> Pair {
        let mut params = CertificateParams::new([name.to_owned()]).expect("a name");
        params.not_before = rcgen::date_time_ymd(2020, 1, 1);
        params.not_after = rcgen::date_time_ymd(year, 3, 10);
        self.sign(params)
    }

    /// A certificate with these URIs, good for the year in which every test begins, and the next.
    pub fn client(&self, uris: &[&str]) -> Pair {
        self.client_until(uris, 2027, Duration::ZERO)
    }

    /// A certificate with these URIs that ends so long after the tenth of March of a year.
    pub fn client_until(&self, uris: &[&str], year: i32, span: Duration) -> Pair {
        let mut params = CertificateParams::default();
        let uri = |uri: &&str| SanType::URI((*uri).try_into().expect("ASCII"));
        params.subject_alt_names = uris.iter().map(uri).collect();
        params.distinguished_name.push(DnType::CommonName, "spiffe://prod.example/edge");
        params.not_before = rcgen::date_time_ymd(2025, 1, 1);
        params.not_after = rcgen::date_time_ymd(year, 3, 10) + span;
        self.sign(params)
    }

    fn sign(&self, params: CertificateParams) -> Pair {
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.issuer).expect("it signs").pem();
        Pair { certificate, key: key.serialize_pem() }
    }
}

/// Puts a file in the place of another, at once.
pub fn put(path: &Path, text: &str) {
    let new = path.with_extension("new");
    fs::write(&new, text).expect("written");
    fs::rename(&new, path).expect("in its place");
}
