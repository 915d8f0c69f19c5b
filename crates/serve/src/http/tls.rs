//! TLS by certificate files.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::ring::default_provider;
use rustls::pki_types::pem::{self, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, RootCertStore, ServerConfig, ServerConnection};

use crate::update::KeyError;
use crate::update::key::{is_kept_from, opened, read};

/// Bytes of a file that is read at most: a chain has a few thousand.
const MOST: u64 = 1 << 20;
/// What is not allowed of the mode of a certificate's key: it may be for a group, but not for everybody.
const REFUSED: u32 = 0o7;
/// How long before its end a certificate is complained of.
const SOON: Duration = Duration::from_secs(7 * DAY);
const DAY: u64 = 86_400;

/// How requests come.
#[derive(Clone, Debug)]
pub enum Transport {
    /// As they are: whoever is on the way reads the keys.
    Plain,
    /// Within TLS.
    Tls(Tls),
}

/// A certificate with its key, read and found to belong together.
#[derive(Clone)]
pub struct Tls {
    config: Arc<ServerConfig>,
    /// The server's own first.
    chain: Arc<[CertificateDer<'static>]>,
}

/// Why certificate files are of no use.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file can't be read, or everybody may read the key.
    #[error(transparent)]
    File(#[from] KeyError),
    /// A file has no such thing in it.
    #[error("{}: {source}", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// Why.
        source: pem::Error,
    },
    /// The file has no certificate.
    #[error("{} has no certificate in it: PEM text is wanted, the server's own first", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// They don't belong together, or are of a kind that is not known.
    #[error("{} and {}: {source}", certificates.display(), key.display())]
    Pair {
        /// The certificates' file.
        certificates: PathBuf,
        /// The key's file.
        key: PathBuf,
        /// Why.
        source: rustls::Error,
    },
}

impl Tls {
    /// Reads certificates (the server's own first, then those up to the root) and the server's key, both as PEM.
    ///
    /// # Errors
    /// A file can't be read, or they are no certificate and its key: all that is wrong with either.
    pub fn read(certificates: &Path, key: &Path) -> Result<Tls, Vec<TlsError>> {
        let (chain, secret) = match (chain(certificates), secret(key)) {
            (Ok(chain), Ok(secret)) => (chain, secret),
            (chain, secret) => return Err(chain.err().into_iter().chain(secret.err()).collect()),
        };
        let built = ServerConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain.clone(), secret));
        let mut config = built.map_err(|source| {
            vec![TlsError::Pair { certificates: certificates.into(), key: key.into(), source }]
        })?;
        config.alpn_protocols = vec![b"http/1.1".to_vec(), b"http/1.0".to_vec()];
        Ok(Tls { config: Arc::new(config), chain: chain.into() })
    }

    /// Why clients that ask for this name, at this time since 1970, won't trust the certificate, or soon will not any
    /// more; whether they trust those that signed it, is theirs to know.
    #[must_use]
    pub fn doubts(&self, name: &str, now: Duration) -> Vec<String> {
        let named = self.chain.first().and_then(|own| misnamed(own, name));
        let ends = self.chain.iter().filter_map(|one| untimely(one, now));
        let mut doubts: Vec<String> = named.into_iter().chain(ends).collect();
        doubts.dedup();
        doubts
    }

    /// The server's end of one connection.
    pub(super) fn connection(&self) -> Result<ServerConnection, rustls::Error> {
        ServerConnection::new(self.config.clone())
    }
}

fn content(path: &Path) -> impl FnOnce(pem::Error) -> TlsError {
    |source| TlsError::Content { path: path.into(), source }
}

fn chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let text = read(path, opened(path)?.0, MOST)?;
    let chain: Vec<_> =
        CertificateDer::pem_slice_iter(&text).collect::<Result<_, _>>().map_err(content(path))?;
    if chain.is_empty() { Err(TlsError::Empty { path: path.into() }) } else { Ok(chain) }
}

fn secret(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    let (file, about) = opened(path)?;
    is_kept_from(REFUSED, path, &about)?;
    PrivateKeyDer::from_pem_slice(&read(path, file, MOST)?).map_err(content(path))
}

/// That a certificate is not for this name.
fn misnamed(certificate: &CertificateDer<'_>, name: &str) -> Option<String> {
    let asked = ServerName::try_from(name).ok()?;
    let parsed = ParsedCertificate::try_from(certificate).ok()?;
    let Err(rustls::Error::InvalidCertificate(wrong)) = verify_server_name(&parsed, &asked) else {
        return None;
    };
    let presented = if let CertificateError::NotValidForNameContext { presented, .. } = wrong {
        presented
    } else {
        vec![]
    };
    // `DnsName("vps.example")` and `IpAddress(192.0.2.10)`, as the verifier has them.
    let bare = |name: &String| {
        let inner = name.split_once('(').and_then(|(_, rest)| rest.strip_suffix(')')).unwrap_or(name);
        inner.trim_matches('"').to_owned()
    };
    let names: Vec<String> = presented.iter().map(bare).collect();
    let names = if names.is_empty() { "no name (subjectAltName)".into() } else { names.join(", ") };
    Some(format!("the certificate is for {names}, and clients ask for {name}"))
}

/// That a certificate's time is over or not yet come, or that it soon will be over.
fn untimely(certificate: &CertificateDer<'_>, now: Duration) -> Option<String> {
    let parsed = ParsedCertificate::try_from(certificate).ok()?;
    let algorithms = default_provider().signature_verification_algorithms.all;
    // Its times are looked at first; without roots it goes no further.
    let at = |time| {
        let roots = RootCertStore::empty();
        let time = UnixTime::since_unix_epoch(time);
        match verify_server_cert_signed_by_trust_anchor(&parsed, &roots, &[], time, algorithms) {
            Err(rustls::Error::InvalidCertificate(wrong)) => Some(wrong),
            Err(_) | Ok(()) => None,
        }
    };
    let days = |from: u64, to: u64| match to.saturating_sub(from) / DAY {
        0 => "less than a day".into(),
        1 => "1 day".into(),
        days => format!("{days} days"),
    };
    match at(now) {
        Some(CertificateError::ExpiredContext { not_after, .. }) => {
            let ago = days(not_after.as_secs(), now.as_secs());
            return Some(format!("the certificate has expired, {ago} ago"));
        }
        Some(CertificateError::NotValidYetContext { not_before, .. }) => {
            let left = days(now.as_secs(), not_before.as_secs());
            return Some(format!("the certificate is not valid yet, for {left} more"));
        }
        Some(_) | None => {}
    }
    match at(now.saturating_add(SOON)) {
        Some(CertificateError::ExpiredContext { not_after, .. }) => {
            Some(format!("the certificate expires in {}", days(now.as_secs(), not_after.as_secs())))
        }
        Some(_) | None => None,
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tls { .. }")
    }
}
