//! Jool, the translator in the kernel, as a peer: it needs its module, which Debian's kernel can have. An
//! instance stands in its host's namespace and goes with it.

use std::net::{Ipv4Addr, Ipv6Addr};

use crate::LabError;
use crate::host::Host;
use crate::world::PREFIX64;

/// The name of the only instance of a namespace.
const INSTANCE: &str = "peer";

/// A stateless translator with these addresses standing for each other.
pub(crate) fn siit(host: &Host, maps: &[(Ipv4Addr, Ipv6Addr)]) -> Result<(), LabError> {
    host.run(&["modprobe", "jool_siit"])?;
    add(host, "jool_siit")?;
    for (four, six) in maps {
        let (four, six) = (format!("{four}/32"), format!("{six}/128"));
        host.run(&["jool_siit", "-i", INSTANCE, "eamt", "add", &six, &four])?;
    }
    Ok(())
}

/// A NAT64 that hides everybody behind the host's own IPv4 address.
pub(crate) fn nat64(host: &Host) -> Result<(), LabError> {
    host.run(&["modprobe", "jool"])?;
    add(host, "jool")
}

fn add(host: &Host, program: &str) -> Result<(), LabError> {
    host.run(&[program, "instance", "add", INSTANCE, "--netfilter", "--pool6", PREFIX64]).map(drop)
}
