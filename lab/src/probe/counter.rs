use crate::LabError;
use crate::host::Host;

/// What the kernel of `host` has counted so far: a counter of `/proc/net/snmp`, such as "Icmp", "InEchos".
///
/// # Errors
/// When there is no such counter.
pub fn counter(host: &Host, protocol: &str, name: &str) -> Result<u64, LabError> {
    let text = host.run(&["cat", "/proc/net/snmp"])?.stdout;
    read(&text, protocol, name).ok_or(LabError::Unreadable { tool: "/proc/net/snmp", text })
}

/// Two lines for each protocol: the names, and the numbers below them.
fn read(text: &str, protocol: &str, name: &str) -> Option<u64> {
    let mut lines = text.lines().filter_map(|line| line.strip_prefix(protocol)?.strip_prefix(':'));
    let column = lines.next()?.split_whitespace().position(|word| word == name)?;
    lines.next()?.split_whitespace().nth(column)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::read;

    #[test]
    fn numbers_stand_below_their_names() {
        let text = "Icmp: InMsgs InErrors\nIcmp: 7 1\nIcmpMsg: InType8\nIcmpMsg: 3\nUdp: NoPorts\nUdp: 4\n";
        let check = |protocol, name, expected| assert_eq!(read(text, protocol, name), expected);
        check("Icmp", "InErrors", Some(1));
        check("IcmpMsg", "InType8", Some(3));
        check("Udp", "NoPorts", Some(4));
        check("Udp", "InErrors", None);
        check("Tcp", "InErrs", None);
    }
}
