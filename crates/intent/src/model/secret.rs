use crate::config::Spanned;

use super::Model;

/// A file with a secret in it that a host must have, and where the file names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Secret<'a> {
    /// A key that both ends of a bridge have: updates are signed with it.
    Signs(&'a Spanned<String>),
    /// A key that a client sends by HTTP.
    Sent(&'a Spanned<String>),
    /// A certificate and its key.
    Certificate {
        /// The file of the certificate.
        own: &'a Spanned<String>,
        /// That of its key.
        key: &'a Spanned<String>,
        /// The name or address that clients ask for.
        name: &'a str,
    },
}

impl Model {
    /// Whether no host needs any.
    #[must_use]
    pub fn is_keyless(&self) -> bool {
        let tunnels = self.tunnels6.iter().all(|tunnel| tunnel.update.is_none() && tunnel.http.is_none());
        tunnels && self.publishes.iter().all(|publish| publish.update.is_none())
    }

    /// The secrets that a host must have, in no order.
    #[must_use]
    pub fn secrets(&self, host: &str) -> Vec<Secret<'_>> {
        let publishes = self.publishes.iter().filter(|it| it.from.host == host || it.to.host == host);
        let signs = publishes.filter_map(|publish| publish.update.as_ref());
        let tunnels = self.tunnels6.iter().filter(|it| it.server.host == host || it.client.host == host);
        let signs = signs.chain(tunnels.filter_map(|tunnel| tunnel.update.as_ref()));
        let mut all: Vec<Secret<'_>> = signs.map(|update| Secret::Signs(&update.key_file)).collect();
        let served = self.tunnels6.iter().filter(|tunnel| tunnel.server.host == host);
        let sent = served.filter_map(|tunnel| Some(Secret::Sent(&tunnel.http.as_ref()?.key_file)));
        all.extend(sent);
        let servers = self.http_servers.iter().filter(|server| server.host == host);
        all.extend(servers.filter_map(|server| {
            let (own, key) = server.certificate.as_ref()?;
            Some(Secret::Certificate { own, key, name: &server.name })
        }));
        all
    }
}
