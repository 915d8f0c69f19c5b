//! What an invitation says, read by the tools that it is for.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that meets the unexpected fails")]

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::Command;

use straddle_intent::invite::{Format, Invitation, Lan, Update};

/// The least, and everything.
fn invitations() -> [Invitation; 2] {
    let least = Invitation {
        name: "box".into(),
        server4: "192.0.2.10".parse().unwrap(),
        client4: None,
        server6: "2001:db8:1::2".parse().unwrap(),
        client6: "2001:db8:1::3".parse().unwrap(),
        prefix_len: 127,
        routed: Vec::new(),
        mtu: 1480,
        hop_limit: 64,
        device: "t6-box".into(),
        lan: None,
        update: Some(Update::Http {
            url: "https://vps.example/nic/update?hostname=box".into(),
            user: "box".into(),
        }),
    };
    let routed = ["2001:db8:1:100::/64", "2001:db8:101::/48"].map(|net| net.parse().unwrap());
    let everything = Invitation {
        client4: Some("198.51.100.7".parse().unwrap()),
        lan: Some(Lan { device: "eth1".into(), network: routed[0] }),
        routed: routed.to_vec(),
        update: None,
        ..least.clone()
    };
    [least, everything]
}

struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let folder = std::env::temp_dir().join(format!("straddle-invite-{}-{name}", std::process::id()));
        fs::create_dir(&folder).unwrap();
        Folder(folder)
    }

    /// Writes all files of an invitation below the folder, and tells where they are.
    fn write(&self, invitation: &Invitation, format: Format) -> Vec<String> {
        let pieces = invitation.pieces(format).into_iter().map(|piece| {
            let path = self.0.join(piece.path.trim_start_matches('/'));
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, piece.text).unwrap();
            fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
            path.display().to_string()
        });
        pieces.collect()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).unwrap();
    }
}

fn good(program: &str, words: &[&str]) -> String {
    let path = format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_default());
    let output = Command::new(program).args(words).env("PATH", path).output();
    let output = output.unwrap_or_else(|error| panic!("{program}: {error}; scripts/deps installs it"));
    let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.success(), "{program} {words:?}: {}\n{text}", output.status);
    text
}

#[track_caller]
fn has(text: &str, lines: &[&str]) {
    for line in lines {
        assert!(text.lines().any(|found| found.trim() == *line), "`{line}` is not in\n{text}");
    }
}

#[test]
fn each_says_where_it_goes_and_nothing_of_a_key() {
    for invitation in invitations() {
        for format in Format::ALL {
            for piece in invitation.pieces(*format) {
                let comments = piece.text.lines().filter(|line| line.starts_with("# ")).count();
                assert!(comments >= 2 && piece.text.ends_with('\n'), "{}", piece.text);
                assert!(piece.text.contains("192.0.2.10"), "{}", piece.text);
            }
        }
    }
}

#[test]
fn a_straddle_file() {
    for invitation in invitations() {
        let text = invitation.pieces(Format::Straddle).remove(0).text;
        let table: toml::Table = toml::from_str(&text).unwrap();
        let tunnel = &table["tunnel6"][0];
        assert_eq!(tunnel["link"].as_str(), Some("2001:db8:1::2/127"));
        assert_eq!(table["host"][tunnel["server"].as_str().unwrap()]["ipv4"].as_str(), Some("192.0.2.10/32"));
        assert_eq!(tunnel.get("routed").is_some(), !invitation.routed.is_empty());
        let dynamic = tunnel.get("client-endpoint").and_then(|word| word.as_str()) == Some("dynamic");
        assert_eq!((dynamic, tunnel.get("key-file").is_some()), (invitation.client4.is_none(), dynamic));
        // Whatever is shown of the server is what a client must know.
        assert!(table["host"]["server"].get("ipv6").is_none());
    }
}

#[test]
fn netplan_makes_of_it_what_networkd_is_told() {
    for invitation in invitations() {
        let folder = Folder::new(&format!("netplan-{}", invitation.routed.len()));
        folder.write(&invitation, Format::Netplan);
        good("netplan", &["generate", "--root-dir", &folder.0.display().to_string()]);
        let run = folder.0.join("run/systemd/network");
        let made =
            |ending: &str| fs::read_to_string(run.join(format!("10-netplan-t6-box.{ending}"))).unwrap();
        let ours = invitation.pieces(Format::Networkd);
        has(&made("netdev"), &["Name=t6-box", "Kind=sit", "Remote=192.0.2.10", "TTL=64", "MTUBytes=1480"]);
        has(&ours[0].text, &["Name=t6-box", "Kind=sit", "Remote=192.0.2.10", "TTL=64", "MTUBytes=1480"]);
        let mut lines = vec!["Address=2001:db8:1::3/127", "Destination=::/0", "Gateway=2001:db8:1::2"];
        if !invitation.routed.is_empty() {
            lines.extend(["Destination=2001:db8:101::/48", "Type=unreachable", "Metric=65535"]);
        }
        has(&made("network"), &lines);
        has(&ours[1].text, &lines);
    }
}

#[test]
fn ifup_would_run_these() {
    for invitation in invitations() {
        let folder = Folder::new(&format!("ifupdown-{}", invitation.routed.len()));
        let file = folder.write(&invitation, Format::Ifupdown).remove(0);
        let state = folder.0.display().to_string();
        let words = ["-a", "--no-act", "--verbose", "--interfaces", &file, "--state-dir", &state];
        let told = good("ifup", &words);
        assert!(told.contains("192.0.2.10") && told.contains("2001:db8:1::3"), "{told}");
        assert!(told.contains("ttl 64") && told.contains("1480") && told.contains("2001:db8:1::2"), "{told}");
    }
}

#[test]
fn a_shell_reads_the_script() {
    for invitation in invitations() {
        let folder = Folder::new(&format!("shell-{}", invitation.routed.len()));
        let file = folder.write(&invitation, Format::Iproute2).remove(0);
        good("sh", &["-n", &file]);
        // Each line is a command of ip's: with another ip before it they are heard.
        let said = good("sh", &["-c", "ip() { echo \"ip $*\"; }; sysctl() { :; }; . \"$0\"", &file]);
        let add = if invitation.client4.is_some() {
            "ip link add t6-box type sit remote 192.0.2.10 local 198.51.100.7 ttl 64"
        } else {
            "ip link add t6-box type sit remote 192.0.2.10 ttl 64"
        };
        has(
            &said,
            &[add, "ip link set t6-box mtu 1480 up", "ip -6 address add 2001:db8:1::3/127 dev t6-box"],
        );
    }
}

/// As `uci batch` reads it: commands, sections of letters, digits and underscores, values in quotes.
#[test]
fn every_line_is_one_of_ucis() {
    let word = |text: &str| !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    for invitation in invitations() {
        let text = invitation.pieces(Format::Openwrt).remove(0).text;
        let mut typed = false;
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let (command, rest) = line.split_once(' ').unwrap();
            if command == "commit" {
                assert_eq!(rest, "network");
                continue;
            }
            assert!(matches!(command, "set" | "add_list"), "{line}");
            let (name, value) = rest.split_once('=').unwrap();
            let parts: Vec<&str> = name.split('.').collect();
            assert!(parts[0] == "network" && parts.iter().copied().all(word), "{line}");
            match parts.len() {
                2 => typed = word(value),
                3 => {
                    let quoted = value.strip_prefix('\'').and_then(|value| value.strip_suffix('\'')).unwrap();
                    assert!(!quoted.contains('\'') && (typed || parts[1] == "lan"), "{line}");
                }
                _ => panic!("{line}"),
            }
        }
        has(&text, &["set network.t6_box=interface", "set network.t6_box.proto='6in4'", "commit network"]);
    }
}
