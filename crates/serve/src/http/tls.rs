//! TLS by certificate files.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::ring::default_provider;
use rustls::pki_types::pem::{self, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection};

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
pub struct Tls(Arc<ServerConfig>);

/// Why certificate files are of no use.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file can't be read, or has no such thing in it.
    #[error("{}: {source}", path.display())]
    File {
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
    /// A file can't be read, or they are no certificate and its key.
    pub fn read(certificates: &Path, key: &Path) -> Result<Tls, TlsError> {
        let file = |path: &Path| {
            let path = path.to_path_buf();
            move |source| TlsError::File { path, source }
        };
        let chain = CertificateDer::pem_file_iter(certificates).map_err(file(certificates))?;
        let chain = chain.collect::<Result<Vec<_>, _>>().map_err(file(certificates))?;
        if chain.is_empty() {
            return Err(TlsError::Empty { path: certificates.into() });
        }
        let secret = PrivateKeyDer::from_pem_file(key).map_err(file(key))?;
        let built = ServerConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, secret));
        let mut config = built.map_err(|source| TlsError::Pair {
            certificates: certificates.into(),
            key: key.into(),
            source,
        })?;
        config.alpn_protocols = vec![b"http/1.1".to_vec(), b"http/1.0".to_vec()];
        Ok(Tls(Arc::new(config)))
    }

    /// The server's end of one connection.
    pub(super) fn connection(&self) -> Result<ServerConnection, rustls::Error> {
        ServerConnection::new(self.0.clone())
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tls { .. }")
    }
}
