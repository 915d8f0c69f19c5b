//! Keys in files: one line of hexadecimal digits that nobody but their owner may read.

use std::fmt::Write as _;
use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Read as _};
use std::ops::RangeInclusive;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use straddle_announce::Key;

use crate::Error;
use crate::http::Secret;
use crate::random::random;

/// Bytes of a file that is read at most: more than the longest key takes.
const MOST: u64 = 4096;
/// Characters of a key that is told by HTTP: nobody guesses the shortest while requests are limited.
const PASSWORD: RangeInclusive<usize> = 16..=256;
/// What is not allowed of a file's mode: execution, and everything for others.
const REFUSED: u32 = 0o7177;

/// Why a file has no key for us.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// It can't be read.
    #[error("{}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is a directory, a device or a pipe.
    #[error("{} is no regular file", path.display())]
    Kind {
        /// The file.
        path: PathBuf,
    },
    /// It is somebody else's, who could put another key there.
    #[error("{0} belongs to user {owner}, who could change the key: `chown {own} {0}`", path.display())]
    Owner {
        /// The file.
        path: PathBuf,
        /// Number of the user whose it is.
        owner: u32,
        /// Number of the user that we are.
        own: u32,
    },
    /// Others may read or change it.
    #[error("{0} is not for its owner alone (mode {mode:04o}): `chmod 600 {0}`", path.display())]
    Mode {
        /// The file.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// It does not contain a key.
    #[error(
        "{}: a key is one line of {} to {} hexadecimal digits; this file has {what}",
        path.display(), Key::SHORTEST * 2, Key::LONGEST * 2
    )]
    Content {
        /// The file.
        path: PathBuf,
        /// What it has.
        what: String,
    },
    /// It does not contain a key that is told by HTTP.
    #[error(
        "{}: a key for HTTP is one line of {} to {} visible characters of ASCII; `straddle key` makes one",
        path.display(), PASSWORD.start(), PASSWORD.end()
    )]
    Password {
        /// The file.
        path: PathBuf,
    },
}

impl KeyError {
    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        match self {
            KeyError::Read { path, .. }
            | KeyError::Kind { path }
            | KeyError::Owner { path, .. }
            | KeyError::Mode { path, .. }
            | KeyError::Content { path, .. }
            | KeyError::Password { path } => path,
        }
    }
}

/// Reads the key of a file: a regular one, of root's or our own, of mode 0600 or less.
///
/// # Errors
/// The file is none of that, or has another content; the error says what to type.
pub fn read_key(path: &Path) -> Result<Key, KeyError> {
    let text = text(path)?;
    let content = |what: String| KeyError::Content { path: path.into(), what };
    let bytes = digits(&text).map_err(|what| content(what.into()))?;
    Key::new(&bytes).map_err(|length| content(format!("{} of them", length.bytes * 2)))
}

/// Reads the key that a client tells by HTTP, of such a file too.
///
/// # Errors
/// The file is none of that, or has another content; the error says what to type.
pub fn read_secret(path: &Path) -> Result<Secret, KeyError> {
    let text = text(path)?;
    let word = text.trim_ascii();
    let legal = PASSWORD.contains(&word.len()) && word.iter().all(u8::is_ascii_graphic);
    let word = str::from_utf8(word).ok().filter(|_| legal);
    word.map(|word| Secret::new(word.into())).ok_or_else(|| KeyError::Password { path: path.into() })
}

/// What stands in a file that nobody else may read.
fn text(path: &Path) -> Result<Vec<u8>, KeyError> {
    let (file, about) = opened(path)?;
    let own = rustix::process::geteuid().as_raw();
    if about.uid() != 0 && about.uid() != own {
        return Err(KeyError::Owner { path: path.into(), owner: about.uid(), own });
    }
    is_kept_from(REFUSED, path, &about)?;
    read(path, file, MOST)
}

/// A regular file and what is known of it: of the one that was opened, since the path may lead to another one by then.
pub(crate) fn opened(path: &Path) -> Result<(File, Metadata), KeyError> {
    let wrong = |source| KeyError::Read { path: path.into(), source };
    // A pipe would be waited for without this.
    let flags = libc::O_NONBLOCK | libc::O_NOCTTY;
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path).map_err(wrong)?;
    let about = file.metadata().map_err(wrong)?;
    if about.is_file() { Ok((file, about)) } else { Err(KeyError::Kind { path: path.into() }) }
}

/// Whether a file has no bit of this mode.
pub(crate) fn is_kept_from(refused: u32, path: &Path, about: &Metadata) -> Result<(), KeyError> {
    let mode = about.mode() & 0o7777;
    if mode & refused == 0 { Ok(()) } else { Err(KeyError::Mode { path: path.into(), mode }) }
}

/// The first `most` bytes of a file.
pub(crate) fn read(path: &Path, file: File, most: u64) -> Result<Vec<u8>, KeyError> {
    let mut text = Vec::new();
    let end = file.take(most).read_to_end(&mut text);
    end.map(|_| text).map_err(|source| KeyError::Read { path: path.into(), source })
}

fn digits(text: &[u8]) -> Result<Vec<u8>, &'static str> {
    let text = text.trim_ascii();
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|value| u8::try_from(value).ok());
    let values: Option<Vec<u8>> = text.iter().map(|byte| digit(*byte)).collect();
    let values = values.ok_or("something else")?;
    let (pairs, odd) = values.as_chunks::<2>();
    if !odd.is_empty() {
        return Err("an odd number of them");
    }
    Ok(pairs.iter().map(|[high, low]| high << 4 | low).collect())
}

/// The text of a file with a new random key of 32 bytes.
///
/// # Errors
/// The kernel gives no random bytes.
pub fn new_key() -> Result<String, Error> {
    let mut text = String::new();
    for byte in random::<{ Key::SHORTEST }>()? {
        // Writing to a string can't fail.
        let _ = write!(text, "{byte:02x}");
    }
    text.push('\n');
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt as _;

    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Folder {
            let folder = std::env::temp_dir().join(format!("straddle-key-{}-{name}", std::process::id()));
            fs::create_dir(&folder).unwrap();
            Folder(folder)
        }

        fn file(&self, text: &str, mode: u32) -> PathBuf {
            let path = self.0.join("key");
            let _ = fs::remove_file(&path);
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            path
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            fs::remove_dir_all(&self.0).unwrap();
        }
    }

    #[test]
    fn a_new_key_can_be_read() {
        let folder = Folder::new("new");
        let texts = [new_key().unwrap(), new_key().unwrap()];
        assert_ne!(texts[0], texts[1]);
        for text in texts {
            assert_eq!(text.len(), 65);
            read_key(&folder.file(&text, 0o600)).unwrap();
        }
    }

    #[test]
    fn modes() {
        let folder = Folder::new("modes");
        let check = |mode: u32, expected: Result<(), &str>| {
            let path = folder.file(&"ab".repeat(32), mode);
            let expected = expected.map_err(|told| told.replace("PATH", &path.display().to_string()));
            assert_eq!(read_key(&path).map(drop).map_err(|error| error.to_string()), expected);
        };
        check(0o600, Ok(()));
        check(0o400, Ok(()));
        check(0o640, Err("PATH is not for its owner alone (mode 0640): `chmod 600 PATH`"));
        check(0o604, Err("PATH is not for its owner alone (mode 0604): `chmod 600 PATH`"));
        check(0o602, Err("PATH is not for its owner alone (mode 0602): `chmod 600 PATH`"));
        check(0o700, Err("PATH is not for its owner alone (mode 0700): `chmod 600 PATH`"));
        check(0o4600, Err("PATH is not for its owner alone (mode 4600): `chmod 600 PATH`"));
    }

    #[test]
    fn contents() {
        let folder = Folder::new("contents");
        let check = |text: &str, expected: Result<(), &str>| {
            let path = folder.file(text, 0o600);
            let told = |told| {
                format!(
                    "{}: a key is one line of 64 to 128 hexadecimal digits; this file has {told}",
                    path.display()
                )
            };
            assert_eq!(read_key(&path).map(drop).map_err(|error| error.to_string()), expected.map_err(told));
        };
        check(&"0f".repeat(32), Ok(()));
        check(&"0F".repeat(64), Ok(()));
        check(&format!("  {}\r\n\n", "0f".repeat(40)), Ok(()));
        check("", Err("0 of them"));
        check("\n", Err("0 of them"));
        check(&"0f".repeat(31), Err("62 of them"));
        check(&"0f".repeat(65), Err("130 of them"));
        check(&"0f".repeat(3000), Err("4096 of them"));
        check(&"0".repeat(65), Err("an odd number of them"));
        check(&"0g".repeat(32), Err("something else"));
        check(&["0f".repeat(16), "0f".repeat(16)].join("\n"), Err("something else"));
        check(&"ä".repeat(32), Err("something else"));
    }

    #[test]
    fn keys_for_http() {
        let folder = Folder::new("http");
        let check = |text: &str, expected: Option<&str>| {
            let found = read_secret(&folder.file(text, 0o600));
            assert_eq!(found.ok(), expected.map(|text| Secret::new(text.into())), "{text}");
        };
        check("0123456789abcdef", Some("0123456789abcdef"));
        check("  pass:word/+=,.-!\r\n", Some("pass:word/+=,.-!"));
        let made = new_key().unwrap();
        check(&made, Some(made.trim_end()));
        check("0123456789abcde", None);
        check("0123456789 abcdef", None);
        check("0123456789abcdeä", None);
        check(&"0".repeat(257), None);
        assert!(read_secret(&folder.file("0123456789abcdef", 0o644)).is_err());
    }

    #[test]
    fn what_is_no_file() {
        let folder = Folder::new("kinds");
        let told = |path: &Path| read_key(path).map(drop).unwrap_err().to_string();
        assert!(told(&folder.0).ends_with(" is no regular file"));
        let pipe = folder.0.join("pipe");
        rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, rustix::fs::Mode::from_raw_mode(0o600)).unwrap();
        assert!(told(&pipe).ends_with(" is no regular file"));
        assert!(told(&folder.0.join("none")).ends_with("none: No such file or directory (os error 2)"));
    }

    /// Needs root, which may give files away.
    #[test]
    fn somebody_elses() {
        let folder = Folder::new("owner");
        let path = folder.file(&"ab".repeat(32), 0o600);
        let own = rustix::process::geteuid().as_raw();
        if own != 0 {
            eprintln!("skipped: only root may give a file away");
            return;
        }
        std::os::unix::fs::chown(&path, Some(own + 1234), None).unwrap();
        let error = read_key(&path).map(drop).unwrap_err();
        let expected = format!(
            "{0} belongs to user {1}, who could change the key: `chown {own} {0}`",
            path.display(),
            own + 1234
        );
        assert_eq!(error.to_string(), expected);
    }
}
