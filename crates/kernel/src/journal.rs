//! The journal: every step's line is on the disk before the step is taken, so that whoever comes
//! after a crash knows what had been displaced.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use straddle_intent::memory::Memory;
use straddle_intent::step::Step;

use crate::Error;

/// Where steps are noted before and after they are taken.
pub trait Notebook {
    /// A step is about to be taken.
    ///
    /// # Errors
    /// When it can't be noted; the step must not be taken then.
    fn doing(&mut self, step: &Step) -> Result<(), Error>;

    /// A step has been taken, as given.
    ///
    /// # Errors
    /// When it can't be noted; what it put back will then be found in place by whoever comes next.
    fn done(&mut self, step: &Step) -> Result<(), Error>;
}

/// A notebook that is forgotten with the process: for tests, and for a `down` on a full disk.
impl Notebook for Memory {
    fn doing(&mut self, step: &Step) -> Result<(), Error> {
        Memory::doing(self, step);
        Ok(())
    }

    fn done(&mut self, step: &Step) -> Result<(), Error> {
        Memory::done(self, step);
        Ok(())
    }
}

/// The journal's file: a first line with what had been displaced before, then a line before and
/// after each step.
pub struct Journal {
    path: PathBuf,
    file: File,
    boot: String,
    memory: Memory,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Line {
    Begin { boot: String, memory: Memory },
    Doing(Step),
    Done(Step),
}

impl Journal {
    /// What is displaced according to the journal in `dir`, for a host in this boot.
    ///
    /// # Errors
    /// When the file can't be read, or a line other than the last is not one of ours.
    pub fn read(dir: &Path, boot: &str) -> Result<Memory, Error> {
        let path = dir.join(NAME);
        match fs::read_to_string(&path) {
            Ok(text) => recall(&path, &text, boot),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Memory::default()),
            Err(error) => Err(Error::file(path)(error)),
        }
    }

    /// Makes a journal readable again of which a line is not one of ours: that line is left out, and the
    /// whole kept beside it as `journal.unreadable`. Tells which line it was, if one was.
    ///
    /// # Errors
    /// When the file can't be read or replaced.
    pub fn salvage(dir: &Path, boot: &str) -> Result<Option<Error>, Error> {
        let mut first = None;
        while let Err(error) = Journal::read(dir, boot) {
            let Error::Journal { path, line, .. } = &error else { return Err(error) };
            let text = fs::read_to_string(path).map_err(Error::file(path))?;
            let kept = text.lines().enumerate().filter(|(index, _)| index + 1 != *line);
            let kept: String = kept.flat_map(|(_, line)| [line, "\n"]).collect();
            let save = || -> std::io::Result<()> {
                if first.is_none() {
                    fs::copy(path, path.with_extension("unreadable"))?;
                }
                fs::write(path, kept)
            };
            save().map_err(Error::file(path))?;
            first.get_or_insert(error);
        }
        Ok(first)
    }

    /// Removes the journal in `dir`: nothing is displaced any more.
    ///
    /// # Errors
    /// When the file can't be removed.
    pub fn remove(dir: &Path) -> Result<(), Error> {
        let path = dir.join(NAME);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(Error::file(path)(error)),
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// Opens the journal in `dir` for new lines, making the folder if need be.
    ///
    /// # Errors
    /// When it can't be read or written; nothing is lost then.
    pub fn open(dir: &Path, boot: &str) -> Result<Journal, Error> {
        crate::turn::folder(dir)?;
        let memory = Journal::read(dir, boot)?;
        let path = dir.join(NAME);
        let file = begin(&path, boot, &memory)?;
        Ok(Journal { path, file, boot: boot.into(), memory })
    }

    /// What is displaced.
    pub fn memory(&self) -> &Memory {
        &self.memory
    }

    /// Forgets everything: what could be put back has been, and the rest has become somebody else's.
    pub fn forget(&mut self) {
        self.memory = Memory::default();
    }

    /// Closes the journal: one line is left of it, or nothing where nothing is displaced.
    ///
    /// # Errors
    /// When the file can't be replaced or removed.
    pub fn close(self) -> Result<(), Error> {
        if self.memory.is_empty() {
            return fs::remove_file(&self.path).map_err(Error::file(&self.path));
        }
        begin(&self.path, &self.boot, &self.memory).map(drop)
    }

    fn append(&mut self, line: &Line) -> Result<(), Error> {
        let text = encode(line)?;
        let write = || -> std::io::Result<()> {
            (&self.file).write_all(text.as_bytes())?;
            self.file.sync_data()
        };
        write().map_err(Error::file(&self.path))
    }
}

impl Notebook for Journal {
    fn doing(&mut self, step: &Step) -> Result<(), Error> {
        self.append(&Line::Doing(step.clone()))?;
        self.memory.doing(step);
        Ok(())
    }

    fn done(&mut self, step: &Step) -> Result<(), Error> {
        self.memory.done(step);
        self.append(&Line::Done(step.clone()))
    }
}

const NAME: &str = "journal";

/// Replaces the file by one with a single line, whole or not at all.
fn begin(path: &Path, boot: &str, memory: &Memory) -> Result<File, Error> {
    let fresh = path.with_extension("new");
    let text = encode(&Line::Begin { boot: boot.into(), memory: memory.clone() })?;
    let write = || -> std::io::Result<File> {
        fs::write(&fresh, text)?;
        File::open(&fresh)?.sync_all()?;
        fs::rename(&fresh, path)?;
        if let Some(dir) = path.parent() {
            File::open(dir)?.sync_all()?;
        }
        OpenOptions::new().append(true).open(path)
    };
    write().map_err(|error| {
        // What is left of a failed attempt is only in the way.
        let _ = fs::remove_file(&fresh);
        Error::file(path)(error)
    })
}

fn encode(line: &Line) -> Result<String, Error> {
    let text = serde_json::to_string(line)
        .map_err(|error| Error::File { path: NAME.into(), source: error.into() })?;
    Ok(text + "\n")
}

/// Folds the lines. A last line that was cut short announced a step that was never taken.
fn recall(path: &Path, text: &str, boot: &str) -> Result<Memory, Error> {
    let mut memory = Memory::default();
    let complete = text.rfind('\n').map_or("", |end| &text[..end]);
    for (index, line) in complete.lines().enumerate() {
        let line = serde_json::from_str(line).map_err(|error| Error::Journal {
            path: path.into(),
            line: index + 1,
            why: error.to_string(),
        })?;
        match line {
            // After a reboot the kernel is fresh: nothing is displaced in it.
            Line::Begin { boot: then, .. } if then != boot => return Ok(Memory::default()),
            Line::Begin { memory: known, .. } => memory = known,
            Line::Doing(step) => memory.doing(&step),
            Line::Done(step) => memory.done(&step),
        }
    }
    Ok(memory)
}

#[cfg(test)]
mod tests {
    use super::*;
    use straddle_intent::object::SysctlKey;
    use straddle_intent::step::Setting;

    fn setting() -> Step {
        let key = SysctlKey::ipv4_conf("eth0", "forwarding");
        Step::Set(Setting { key, from: "0".into(), to: "1".into(), disturbed: vec![], beside: None })
    }

    fn check(lines: &[&str], boot: &str, remembered: usize) {
        let memory = recall(Path::new("journal"), &lines.concat(), boot);
        assert_eq!(memory.map(|memory| memory.settings.len()).ok(), Some(remembered), "{lines:?}");
    }

    #[test]
    fn what_a_journal_remembers() {
        let begin = encode(&Line::Begin { boot: "a".into(), memory: Memory::default() }).unwrap();
        let doing = encode(&Line::Doing(setting())).unwrap();
        let back = encode(&Line::Done(setting().inverse())).unwrap();
        check(&[], "a", 0);
        check(&[&begin, &doing], "a", 1);
        check(&[&begin, &doing], "b", 0);
        check(&[&begin, &doing[..20]], "a", 0);
        check(&[&begin, &doing, &back], "a", 0);
        check(&[&begin, &doing, &back[..back.len() - 1]], "a", 1);
    }

    #[test]
    fn a_line_that_is_not_ours_is_an_error() {
        assert!(recall(Path::new("journal"), "{}\n", "a").is_err());
    }
}
