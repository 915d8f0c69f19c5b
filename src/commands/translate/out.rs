//! Writes the packets that come out as a pcap file of raw IP, whole or not at all.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write as _};
use std::path::{Path, PathBuf};

use super::moment::Moment;

/// A file under another name, until all is in it.
pub(super) struct OutFile {
    file: BufWriter<File>,
    /// Where it is written.
    draft: PathBuf,
    /// Where it is to be.
    path: PathBuf,
    places: u8,
    done: bool,
}

impl OutFile {
    /// Times are written in units of 10⁻⁶ s where `places` is 6, else of 10⁻⁹ s.
    pub(super) fn create(path: &Path, places: u8) -> io::Result<Self> {
        // What a link leads to is replaced, not the link; a device or a pipe never.
        let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_path_buf());
        if fs::metadata(&path).is_ok_and(|there| !there.is_file()) {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is there, and no file"));
        }
        let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?.to_string_lossy();
        let draft = path.with_file_name(format!(".{name}.{}", std::process::id()));
        let file = OpenOptions::new().write(true).create_new(true).open(&draft)?;
        let mut out = Self { file: BufWriter::with_capacity(BUFFER, file), draft, path, places, done: false };
        out.header()?;
        Ok(out)
    }

    fn header(&mut self) -> io::Result<()> {
        let magic: u32 = if self.places == 6 { 0xa1b2_c3d4 } else { 0xa1b2_3c4d };
        self.file.write_all(&magic.to_le_bytes())?;
        // Version 2.4, then two fields that nobody uses.
        self.file.write_all(&[2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0])?;
        self.file.write_all(&SNAP.to_le_bytes())?;
        self.file.write_all(&RAW_IP.to_le_bytes())
    }

    /// Appends a packet.
    pub(super) fn packet(&mut self, time: Option<Moment>, packet: &[u8]) -> io::Result<()> {
        let (seconds, nanoseconds) = time.map(Moment::seconds).unwrap_or_default();
        let fraction = if self.places == 6 { nanoseconds / 1000 } else { nanoseconds };
        let length = packet.len() as u32;
        for field in [seconds, fraction, length, length] {
            self.file.write_all(&field.to_le_bytes())?;
        }
        self.file.write_all(packet)
    }

    /// Gives the file its name.
    pub(super) fn finish(mut self) -> io::Result<()> {
        self.file.flush()?;
        fs::rename(&self.draft, &self.path)?;
        self.done = true;
        Ok(())
    }
}

impl Drop for OutFile {
    fn drop(&mut self) {
        if !self.done {
            let _ = fs::remove_file(&self.draft);
        }
    }
}

/// `LINKTYPE_RAW`.
const RAW_IP: u32 = 101;
/// What readers must make room for: the longest IPv6 packet is shorter.
const SNAP: u32 = 262_144;
const BUFFER: usize = 1 << 18;
