//! Names: an unbound that has them, and before it one that is a DNS64 (RFC 6147). Two, since unbound
//! synthesises nothing from data of its own.

use std::fs;
use std::net::Ipv6Addr;
use std::path::Path;
use std::time::Duration;

use crate::LabError;
use crate::host::Host;
use crate::process::Process;
use crate::world::PREFIX64;

/// The name of the IPv4-only server. Not below `.test` and its like, which unbound refuses by itself.
pub(crate) const NAME: &str = "web.example.net";

/// Starts both on `host`; the DNS64 answers at `address`.
pub(crate) fn serve(host: &Host, address: Ipv6Addr, directory: &Path) -> Result<[Process; 2], LabError> {
    let holder = start(host, directory, "names", &format!("interface: ::1@5353\n{RECORDS}"))?;
    let dns64 = format!(
        "interface: {address}@53
        module-config: \"dns64 iterator\"
        dns64-prefix: {PREFIX64}
        do-not-query-localhost: no
        local-zone: \"ipv4only.arpa.\" transparent
        forward-zone:
            name: \".\"
            forward-addr: ::1@5353
        "
    );
    Ok([holder, start(host, directory, "dns64", &dns64)?])
}

fn start(host: &Host, directory: &Path, name: &str, own: &str) -> Result<Process, LabError> {
    let file = directory.join(format!("unbound-{name}.conf"));
    let text = format!("server:\n{COMMON}\n{own}");
    fs::write(&file, text).map_err(LabError::io(format!("writing {}", file.display())))?;
    let mut command = host.command("unbound");
    command.args(["-d", "-c"]).arg(&file);
    let mut unbound = Process::start(command, &directory.join(format!("unbound-{name}.log")))?;
    unbound.says("start of service", START)?;
    Ok(unbound)
}

const START: Duration = Duration::from_secs(20);

/// No file outside the lab is read or written.
const COMMON: &str = "
    directory: \"/\"
    chroot: \"\"
    username: \"\"
    pidfile: \"\"
    use-syslog: no
    logfile: \"\"
    verbosity: 1
    num-threads: 1
    so-sndbuf: 0
    do-ip4: no
    access-control: ::/0 allow
    trust-anchor-signaling: no
    module-config: \"iterator\"
";

/// The server, and the well-known addresses that a NAT64's prefix is found by (RFC 7050).
const RECORDS: &str = "
    local-zone: \"example.net.\" static
    local-data: \"web.example.net. A 198.51.100.10\"
    local-zone: \"ipv4only.arpa.\" static
    local-data: \"ipv4only.arpa. A 192.0.0.170\"
    local-data: \"ipv4only.arpa. A 192.0.0.171\"
";
