//! The files of keys and certificates that this host must have.

use std::io::ErrorKind;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use straddle_intent::config::{Diagnostic, Spanned};
use straddle_intent::model::Secret;
use straddle_serve::http::{Tls, TlsError};
use straddle_serve::update::{KeyError, read_key, read_secret};

/// What was found.
#[derive(Default)]
pub(super) struct Found {
    pub(super) mistakes: Vec<Diagnostic>,
    /// What is no mistake of the file's, or can't be told.
    pub(super) doubts: Vec<String>,
}

/// Reads them as `run` does.
pub(super) fn look(secrets: &[Secret<'_>]) -> Found {
    let mut found = Found::default();
    for secret in secrets {
        match secret {
            Secret::Signs(file) => {
                let help = "make one with `straddle key FILE`, the same for both hosts";
                found.key(read_key(Path::new(&file.value)).map(drop), file, help);
            }
            Secret::Sent(file) => {
                let help = "make one with `straddle key FILE`: the client sends what stands in it";
                found.key(read_secret(Path::new(&file.value)).map(drop), file, help);
            }
            Secret::Certificate { own, key, name } => found.certificate(own, key, name),
        }
    }
    found
}

impl Found {
    fn key(&mut self, read: Result<(), KeyError>, file: &Spanned<String>, missing: &str) {
        let Err(why) = read else { return };
        match &why {
            KeyError::Read { source, .. } if source.kind() == ErrorKind::PermissionDenied => {
                self.doubts.push(format!("{why}: root can look at it"));
            }
            KeyError::Read { source, .. } if source.kind() == ErrorKind::NotFound => {
                self.wrong(file, &why.to_string(), missing);
            }
            KeyError::Read { .. }
            | KeyError::Kind { .. }
            | KeyError::Owner { .. }
            | KeyError::Mode { .. }
            | KeyError::Content { .. }
            | KeyError::Password { .. } => {
                self.wrong(
                    file,
                    &why.to_string(),
                    "mend that file, or name another: this one is not taken as it is",
                );
            }
        }
    }

    fn certificate(&mut self, own: &Spanned<String>, key: &Spanned<String>, name: &str) {
        match Tls::read(Path::new(&own.value), Path::new(&key.value)) {
            Ok(tls) => {
                let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
                let doubts = tls.doubts(name, now);
                self.doubts.extend(doubts.iter().map(|doubt| format!("{}: {doubt}", own.value)));
            }
            Err(found) => found.into_iter().for_each(|why| self.useless(own, key, why)),
        }
    }

    fn useless(&mut self, own: &Spanned<String>, key: &Spanned<String>, why: TlsError) {
        let of = |path: &Path| if path == Path::new(&key.value) { key } else { own };
        let help = "name the files of a certificate, with those that signed it, and of its key, as PEM text";
        match why {
            TlsError::File(why) => {
                let file = of(why.path());
                self.key(Err(why), file, help);
            }
            TlsError::Pair { .. } => self.wrong(key, &why.to_string(), help),
            TlsError::Empty { .. } => self.wrong(own, &why.to_string(), help),
            TlsError::Content { ref path, .. } => self.wrong(of(path), &why.to_string(), help),
        }
    }

    fn wrong(&mut self, file: &Spanned<String>, message: &str, help: &str) {
        self.mistakes.push(Diagnostic {
            span: file.span.clone(),
            message: message.into(),
            help: help.into(),
        });
    }
}
