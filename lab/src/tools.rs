use std::env;
use std::ffi::OsString;
use std::path::PathBuf;

use crate::LabError;

/// Refuses to begin without root or without a tool.
pub(crate) fn ready() -> Result<(), LabError> {
    if !rustix::process::geteuid().is_root() {
        return Err(LabError::NotRoot);
    }
    complete(&TOOLS, installed)
}

/// Refuses to begin without one of these too.
pub(crate) fn ready_for(tools: &[(&str, &str)]) -> Result<(), LabError> {
    complete(tools, installed)
}

fn complete(tools: &[(&str, &str)], installed: impl Fn(&str) -> bool) -> Result<(), LabError> {
    let missing: Vec<_> = tools.iter().filter(|(tool, _)| !installed(tool)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let mut packages: Vec<&str> = missing.iter().map(|(_, package)| *package).collect();
    packages.dedup();
    let tools: Vec<&str> = missing.iter().map(|(tool, _)| *tool).collect();
    Err(LabError::MissingTools { tools: tools.join(", "), packages: packages.join(" ") })
}

/// The search path of every command, with the directories that Debian leaves out of a user's.
pub(crate) fn path() -> OsString {
    env::join_paths(directories()).unwrap_or_else(|_| env::var_os("PATH").unwrap_or_default())
}

fn installed(tool: &str) -> bool {
    directories().any(|directory| directory.join(tool).is_file())
}

fn directories() -> impl Iterator<Item = PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let given: Vec<PathBuf> = env::split_paths(&path).collect();
    given.into_iter().chain(["/usr/sbin", "/usr/bin", "/sbin", "/bin"].map(PathBuf::from))
}

/// Every tool with its Debian package, packages in order.
const TOOLS: [(&str, &str); 10] = [
    ("curl", "curl"),
    ("iperf3", "iperf3"),
    ("bridge", "iproute2"),
    ("ip", "iproute2"),
    ("ss", "iproute2"),
    ("ping", "iputils-ping"),
    ("nft", "nftables"),
    ("nginx", "nginx-light"),
    ("traceroute", "traceroute"),
    ("setsid", "util-linux"),
];

/// What the worlds with a translator need besides.
pub(crate) const TRANSLATION: [(&str, &str); 3] =
    [("mount", "mount"), ("tayga", "tayga"), ("unbound", "unbound")];

#[cfg(test)]
mod tests {
    use super::{TOOLS, complete};

    #[test]
    fn every_missing_tool_is_named_with_its_package() {
        assert!(complete(&TOOLS, |_| true).is_ok());
        let error = complete(&TOOLS, |tool| !["ip", "ss", "nginx"].contains(&tool)).unwrap_err();
        let expected = "the lab needs ip, ss, nginx; on Debian: apt-get install iproute2 nginx-light";
        assert_eq!(error.to_string(), expected);
    }
}
