use crate::Error;

/// The boot that the kernel is in: what was displaced in an earlier one is displaced no more.
///
/// # Errors
/// When `/proc` can't be read.
pub fn boot_id() -> Result<String, Error> {
    let path = "/proc/sys/kernel/random/boot_id";
    std::fs::read_to_string(path).map(|id| id.trim().to_string()).map_err(Error::file(path))
}
