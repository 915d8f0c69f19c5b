//! Random bytes of the kernel's.

use rustix::rand::{GetRandomFlags, getrandom};

use crate::Error;

/// As many; up to 256 come in one piece (`getrandom(2)`).
pub(crate) fn random<const N: usize>() -> Result<[u8; N], Error> {
    let mut bytes = [0; N];
    let mut rest = bytes.as_mut_slice();
    while !rest.is_empty() {
        match getrandom(&mut *rest, GetRandomFlags::empty()) {
            Ok(got) => rest = rest.get_mut(got..).unwrap_or_default(),
            Err(rustix::io::Errno::INTR) => {}
            Err(errno) => return Err(Error::call("getrandom")(errno)),
        }
    }
    Ok(bytes)
}
