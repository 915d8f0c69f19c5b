use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::LabError;
use crate::host::Host;

/// Every readable `net.*` sysctl as the host sees it, in order, as `key = value`.
pub(super) fn all(host: &Host) -> Result<Vec<String>, LabError> {
    let lines = host.inside(|| {
        let mut files = Vec::new();
        walk(Path::new("/proc/sys/net"), &mut files)?;
        files.sort();
        Ok(files.iter().filter_map(|file| line(file)).collect())
    })?;
    lines.map_err(LabError::io::<io::Error>("reading /proc/sys/net"))
}

fn walk(directory: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            walk(&entry.path(), files)?;
        } else {
            files.push(entry.path());
        }
    }
    Ok(())
}

/// `None` for keys that can only be written, and for those that count.
fn line(file: &Path) -> Option<String> {
    let key = file.strip_prefix("/proc/sys").ok()?.display().to_string();
    if COUNTS.contains(&key.as_str()) {
        return None;
    }
    let value = fs::read_to_string(file).ok()?;
    Some(format!("{key} = {}", value.trim_end().replace('\n', " ")))
}

/// The number of connections that are tracked.
const COUNTS: [&str; 1] = ["net/netfilter/nf_conntrack_count"];
