use std::fmt;

use serde::{Deserialize, Serialize};

/// A sysctl below `/proc/sys`, written with slashes: device names may contain dots.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SysctlKey(String);

/// A sysctl with its value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sysctl {
    /// Which.
    pub key: SysctlKey,
    /// Its value as `/proc` shows it, without the newline.
    pub value: String,
}

impl SysctlKey {
    /// `net.ipv4.conf.DEV.NAME`.
    pub fn ipv4_conf(dev: &str, name: &str) -> SysctlKey {
        SysctlKey(format!("net/ipv4/conf/{dev}/{name}"))
    }

    /// `net.ipv6.conf.DEV.NAME`.
    pub fn ipv6_conf(dev: &str, name: &str) -> SysctlKey {
        SysctlKey(format!("net/ipv6/conf/{dev}/{name}"))
    }

    /// `net.ipv6.neigh.DEV.NAME`.
    pub fn ipv6_neigh(dev: &str, name: &str) -> SysctlKey {
        SysctlKey(format!("net/ipv6/neigh/{dev}/{name}"))
    }

    /// `net.ipv4.neigh.DEV.NAME`.
    pub fn ipv4_neigh(dev: &str, name: &str) -> SysctlKey {
        SysctlKey(format!("net/ipv4/neigh/{dev}/{name}"))
    }

    /// Its path below `/proc/sys`.
    pub fn path(&self) -> &str {
        &self.0
    }

    /// The device that it belongs to; none for a setting of the whole host.
    pub fn device(&self) -> Option<&str> {
        let mut parts = self.0.split('/');
        let (_, _, group, device) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        ((group == "conf" || group == "neigh") && device != "all" && device != "default").then_some(device)
    }

    /// The key that a device of the same name gets its value from when it appears.
    pub fn inherits(&self) -> Option<SysctlKey> {
        let dev = self.device()?;
        Some(SysctlKey(self.0.replacen(&format!("/{dev}/"), "/default/", 1)))
    }

    /// The key that tells whether somebody has made a router of the host since: whoever does so (`ip_forward`,
    /// `all.forwarding`) also changes what later devices get, which we never do.
    pub fn witness(&self) -> Option<SysctlKey> {
        let mut parts = self.0.split('/');
        let (_, family, group, device) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let name = parts.next()?;
        let told = name == "forwarding" || (family, name) == ("ipv6", "accept_ra");
        (group == "conf" && device != "default" && told)
            .then(|| SysctlKey(format!("net/{family}/conf/default/forwarding")))
    }

    /// The other keys that writing this one changes, for a host with these devices
    /// (`inet_forward_change`, `addrconf_fixup_forwarding`).
    pub fn disturbs(&self, devices: &[&str]) -> Vec<SysctlKey> {
        let (family, redirects) = match self.0.as_str() {
            "net/ipv4/ip_forward" | "net/ipv4/conf/all/forwarding" => ("ipv4", true),
            "net/ipv6/conf/all/forwarding" => ("ipv6", false),
            _ => return Vec::new(),
        };
        let every = devices.iter().copied().chain(["all", "default"]);
        let mut keys: Vec<SysctlKey> =
            every.map(|dev| SysctlKey(format!("net/{family}/conf/{dev}/forwarding"))).collect();
        if family == "ipv4" {
            keys.push(SysctlKey("net/ipv4/ip_forward".into()));
        }
        if redirects {
            keys.push(SysctlKey("net/ipv4/conf/all/accept_redirects".into()));
        }
        keys.retain(|key| key != self);
        keys
    }
}

impl fmt::Display for SysctlKey {
    /// As sysctl(8) takes it: dots, or slashes where a device's name has a dot.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.contains('.') { f.write_str(&self.0) } else { f.write_str(&self.0.replace('/', ".")) }
    }
}

impl fmt::Display for Sysctl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} = {}", self.key, self.value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn device_of_a_key() {
        let check =
            |key: &str, device: Option<&str>| assert_eq!(SysctlKey(key.into()).device(), device, "{key}");
        check("net/ipv4/conf/eth0.7/forwarding", Some("eth0.7"));
        check("net/ipv4/neigh/eth0/proxy_delay", Some("eth0"));
        check("net/ipv4/conf/all/forwarding", None);
        check("net/ipv4/ip_forward", None);
    }

    #[test]
    fn who_tells_of_routers() {
        let check = |key: &str, expected: Option<&str>| {
            let found = SysctlKey(key.into()).witness();
            assert_eq!(found.as_ref().map(SysctlKey::path), expected, "{key}");
        };
        check("net/ipv4/conf/eth0/forwarding", Some("net/ipv4/conf/default/forwarding"));
        check("net/ipv6/conf/all/forwarding", Some("net/ipv6/conf/default/forwarding"));
        check("net/ipv6/conf/eth0.7/accept_ra", Some("net/ipv6/conf/default/forwarding"));
        check("net/ipv6/conf/default/forwarding", None);
        check("net/ipv4/conf/eth0/rp_filter", None);
        check("net/ipv6/neigh/eth0/proxy_delay", None);
        check("net/ipv4/ip_forward", None);
    }

    #[test]
    fn side_effects_of_a_write() {
        let check = |key: &str, disturbed: &[&str]| {
            let found = SysctlKey(key.into()).disturbs(&["eth0"]);
            assert_eq!(found.iter().map(SysctlKey::path).collect::<Vec<_>>(), disturbed, "{key}");
        };
        check("net/ipv4/conf/eth0/forwarding", &[]);
        check(
            "net/ipv4/ip_forward",
            &[
                "net/ipv4/conf/eth0/forwarding",
                "net/ipv4/conf/all/forwarding",
                "net/ipv4/conf/default/forwarding",
                "net/ipv4/conf/all/accept_redirects",
            ],
        );
        check(
            "net/ipv6/conf/all/forwarding",
            &["net/ipv6/conf/eth0/forwarding", "net/ipv6/conf/default/forwarding"],
        );
    }
}
