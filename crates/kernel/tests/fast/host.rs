//! The namespace that a program is asked in.

use std::process::Command;
use std::time::Duration;

/// Bytes of an Ethernet header, and of what the shortest frame carries.
pub(crate) const ETHERNET: usize = 14;
pub(crate) const SHORTEST: usize = 46;
/// The hardware address of the devices that packets come in by: what is for another is not looked at.
pub(crate) const HARDWARE: [u8; 6] = [2, 0, 0, 0, 0, 1];
/// `TC_ACT_REDIRECT`, `TC_ACT_UNSPEC`.
pub(crate) const REDIRECT: u32 = 7;
pub(crate) const UNSPEC: u32 = u32::MAX;
/// Longer than two ticks of the kernel's clock, for which programs remember.
pub(crate) const TICKS: Duration = Duration::from_millis(30);

/// Has ip(8) do that.
pub(crate) fn ip(line: &str) {
    let done = Command::new("ip").args(line.split_whitespace()).status().unwrap();
    assert!(done.success(), "ip {line}");
}

/// Has nft(8) do these, in one go.
pub(crate) fn nft(lines: &[&str]) {
    let done = Command::new("nft").arg(lines.join("; ")).status().unwrap();
    assert!(done.success(), "nft {lines:?}");
}

/// The number of a device.
pub(crate) fn index(dev: &str) -> u32 {
    let shown = Command::new("ip").args(["-o", "link", "show", "dev", dev]).output().unwrap().stdout;
    String::from_utf8(shown).unwrap().split(':').next().unwrap().parse().unwrap()
}
