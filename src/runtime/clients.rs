//! Certificates of clients: who may connect, what a certificate says of its bearer, and how long it goes on being good.
//!
//! A connection lives longer than what let it in: certificates end, and authorities are taken away. So a certificate is
//! looked at again while its connection is in use. What is no longer good ends the connection at the next byte that comes
//! over it; a client that is asked nothing answers a keepalive ping, so that takes at most [`super::threads`] some seconds.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use parking_lot::RwLock;
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, RootCertStore, SignatureScheme,
    client::danger::HandshakeSignatureValid,
    crypto::CryptoProvider,
    server::{
        WebPkiClientVerifier,
        danger::{ClientCertVerified, ClientCertVerifier},
    },
};
use rustls_pki_types::{CertificateDer, UnixTime, pem::PemObject as _};
use x509_parser::{
    extensions::GeneralName,
    prelude::{FromDer as _, X509Certificate},
};

use super::tls::{TlsError, unix_time};
use crate::{
    config::{ClientAuth, ClientsConfig},
    domain::{
        spiffe::{SpiffeId, TrustDomain},
        time::{Clock, Timestamp},
    },
};

/// How long a look at a certificate holds, in microseconds: it costs about as much as two signature checks.
const LOOK_AGAIN: i64 = 60_000_000;

/// Who is trusted to say who clients are; another one with each change of the authorities.
#[derive(Debug)]
pub struct Trust {
    generation: AtomicU64,
    verifier: RwLock<Arc<Verifier>>,
}

/// Checks a certificate against authorities, and what it says of its bearer.
#[derive(Debug)]
pub struct Verifier {
    chains: Arc<dyn ClientCertVerifier>,
    domains: Vec<TrustDomain>,
}

impl Verifier {
    /// Trusts the authorities in a PEM bundle.
    ///
    /// # Errors
    /// [`TlsError`] when there is none in it, or one that is none.
    pub fn new(config: &ClientsConfig, bundle: &[u8], provider: &Arc<CryptoProvider>) -> Result<Self, TlsError> {
        let bad = |why: String| TlsError::new(&config.ca_file, why);
        let mut roots = RootCertStore::empty();
        for root in CertificateDer::pem_slice_iter(bundle) {
            let root = root.map_err(|error| bad(error.to_string()))?;
            roots.add(root).map_err(|error| bad(error.to_string()))?;
        }
        let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider));
        let builder = match config.auth {
            ClientAuth::Required => builder,
            ClientAuth::Optional => builder.allow_unauthenticated(),
        };
        let chains = builder.build().map_err(|error| bad(error.to_string()))?;
        Ok(Self { chains, domains: config.trust_domains.clone() })
    }

    /// What a certificate says that its bearer is. Nothing without a trust domain, and nothing without a URI among its
    /// names; its other names never count. The check of its chain is another matter.
    ///
    /// # Errors
    /// When its URI is not one SPIFFE id of a trust domain.
    fn spiffe(&self, certificate: &CertificateDer<'_>) -> Result<Option<SpiffeId>, Error> {
        let bad = |why: &str| Error::General(format!("the client's certificate {why}"));
        if self.domains.is_empty() {
            return Ok(None);
        }
        let (_, parsed) = X509Certificate::from_der(certificate).map_err(|_| CertificateError::BadEncoding)?;
        // Refuses a certificate that has the extension twice.
        let names = parsed.subject_alternative_name().map_err(|_| CertificateError::BadEncoding)?;
        let names = names.map(|extension| extension.value.general_names.as_slice()).unwrap_or_default();
        let mut uris = names.iter().filter_map(|name| if let GeneralName::URI(uri) = name { Some(*uri) } else { None });
        let (Some(uri), None) = (uris.next(), uris.next()) else {
            let none = names.iter().all(|name| !matches!(name, GeneralName::URI(_)));
            return if none { Ok(None) } else { Err(bad("has more than one URI: it must have one SPIFFE id")) };
        };
        let id: SpiffeId = uri.parse().map_err(|_| bad("has a URI that is no SPIFFE id"))?;
        let ours = self.domains.iter().any(|domain| id.is_of(domain));
        if ours { Ok(Some(id)) } else { Err(bad("is of another trust domain")) }
    }

    /// Checks a chain, the client's own certificate first, and gives what it says.
    fn check(&self, chain: &[CertificateDer<'_>], now: Timestamp) -> Result<Option<SpiffeId>, Error> {
        let (own, between) = chain.split_first().ok_or(Error::NoCertificatesPresented)?;
        self.chains.verify_client_cert(own, between, unix_time(now))?;
        self.spiffe(own)
    }
}

impl ClientCertVerifier for Verifier {
    fn offer_client_auth(&self) -> bool {
        self.chains.offer_client_auth()
    }

    fn client_auth_mandatory(&self) -> bool {
        self.chains.client_auth_mandatory()
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.chains.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        own: &CertificateDer<'_>,
        between: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let verified = self.chains.verify_client_cert(own, between, now)?;
        self.spiffe(own)?;
        Ok(verified)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.chains.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.chains.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.chains.supported_verify_schemes()
    }
}

impl Trust {
    /// Trusts what a verifier trusts.
    #[must_use]
    pub fn new(verifier: Arc<Verifier>) -> Self {
        Self { generation: AtomicU64::new(0), verifier: RwLock::new(verifier) }
    }

    /// Trusts what another verifier trusts: every connection is looked at again.
    pub fn replace(&self, verifier: Arc<Verifier>) {
        *self.verifier.write() = verifier;
        self.generation.fetch_add(1, Ordering::Release);
    }
}

/// The certificate of a client whose connection is open.
pub struct Shown {
    chain: Vec<CertificateDer<'static>>,
    spiffe: Option<Arc<SpiffeId>>,
    ends: i64,
    trust: Arc<Trust>,
    clock: Arc<dyn Clock>,
    /// The trust that it was last checked by, and until when that holds.
    checked: (u64, i64),
}

impl Shown {
    /// Looks at the certificate that a client has shown in a handshake, be it a moment ago: since then trust may have changed.
    ///
    /// # Errors
    /// When it is no longer good.
    pub fn new(chain: &[CertificateDer<'_>], trust: Arc<Trust>, clock: Arc<dyn Clock>) -> Result<Self, Error> {
        let chain: Vec<_> = chain.iter().map(|certificate| certificate.clone().into_owned()).collect();
        let own = chain.first().ok_or(Error::NoCertificatesPresented)?;
        let (_, parsed) = X509Certificate::from_der(own).map_err(|_| CertificateError::BadEncoding)?;
        // The last second counts whole, as in the check of the chain.
        let ends = parsed.validity().not_after.timestamp().saturating_add(1).saturating_mul(1_000_000);
        let mut shown = Self { chain, spiffe: None, ends, trust, clock, checked: (0, 0) };
        shown.spiffe = shown.check(shown.clock.now())?.map(Arc::new);
        Ok(shown)
    }

    fn check(&mut self, now: Timestamp) -> Result<Option<SpiffeId>, Error> {
        // The number first: when trust changes between the two, the next look is at once.
        let generation = self.trust.generation.load(Ordering::Acquire);
        let verifier = Arc::clone(&self.trust.verifier.read());
        let said = verifier.check(&self.chain, now)?;
        self.checked = (generation, self.ends.min(now.micros().saturating_add(LOOK_AGAIN)));
        Ok(said)
    }

    /// What the certificate says that the client is.
    #[must_use]
    pub const fn spiffe(&self) -> Option<&Arc<SpiffeId>> {
        self.spiffe.as_ref()
    }

    /// Insists that the certificate is still good, and says the same. Costs a reading of the clock, but for once a minute.
    ///
    /// # Errors
    /// When it is not.
    pub fn look_again(&mut self) -> Result<(), Error> {
        let now = self.clock.now();
        let (generation, until) = self.checked;
        if now.micros() < until && self.trust.generation.load(Ordering::Acquire) == generation {
            return Ok(());
        }
        let said = self.check(now)?;
        if said.as_ref() == self.spiffe.as_deref() {
            Ok(())
        } else {
            Err(CertificateError::ApplicationVerificationFailure.into())
        }
    }
}
