//! `straddle invite` as a user and a script see it.
#![allow(clippy::unwrap_used, reason = "a test that meets the unexpected fails")]

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::{Command, Output};

use serde_json::Value;

const FILE: &str = r#"
[host.vps]
uplink = "eth0"
ipv4   = "192.0.2.10/24"
ipv6   = "2001:db8:1::10"

[host.box]
uplink = "eth0"
ipv4   = "198.51.100.7/24"

[host.shed]
uplink = "eth0"

[host.home]
uplink = "eth0"

[[tunnel6]]
server = "vps"
client = "box"
link   = "2001:db8:1::2/127"

[[tunnel6]]
name   = "shed"
server = "vps"
client = "shed"
client-endpoint = "dynamic"
key-file = "/etc/straddle/shed.key"
link   = "2001:db8:1::4/127"

[[relay]]
name   = "web"
host   = "vps"
listen = "tcp4/443"
to     = "[2001:db8:1::3]:443"
"#;

struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let folder = std::env::temp_dir().join(format!("straddle-cli-{}-{name}", std::process::id()));
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join("straddle.toml"), FILE).unwrap();
        Folder(folder)
    }

    fn path(&self, name: &str) -> String {
        self.0.join(name).display().to_string()
    }

    fn invite(&self, words: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_straddle"));
        command.args(["--config", &self.path("straddle.toml"), "invite"]).args(words);
        command.output().unwrap()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).unwrap();
    }
}

#[track_caller]
fn check(output: &Output, code: i32, words: &[&str]) -> String {
    let said = String::from_utf8_lossy(&[output.stdout.clone(), output.stderr.clone()].concat()).into_owned();
    assert_eq!(output.status.code(), Some(code), "{said}");
    // Folded at 80 columns, and in no colour.
    let unfolded = said.split_whitespace().collect::<Vec<_>>().join(" ");
    for word in words {
        assert!(unfolded.contains(word), "`{word}` is not in\n{said}");
    }
    assert!(!said.contains('\u{1b}'), "{said}");
    for line in said.lines() {
        assert!(line.chars().count() <= 80, "wider than 80 columns: {line}");
    }
    said
}

#[test]
fn a_tunnel_has_two_names() {
    let folder = Folder::new("names");
    let by_client = check(&folder.invite(&["box"]), 0, &["link = \"2001:db8:1::2/127\""]);
    assert_eq!(check(&folder.invite(&["tunnel6-box"]), 0, &[]), by_client);
    assert_eq!(check(&folder.invite(&["box", "--as", "straddle"]), 0, &[]), by_client);
    for format in ["iproute2", "netplan", "networkd", "ifupdown", "openwrt"] {
        let text = check(&folder.invite(&["box", "--as", format]), 0, &["2001:db8:1::3"]);
        assert!(!text.contains("shed") && !text.contains("2001:db8:1::5"), "{text}");
    }
}

#[test]
fn mistakes_are_told_with_what_to_write() {
    let folder = Folder::new("mistakes");
    let no = |words: &[&str], told: &[&str]| {
        check(&folder.invite(words), 2, told);
    };
    no(&["bix"], &["bix is no tunnel6 and no client of one", "write one of its names: tunnel6-box, shed"]);
    no(&["home"], &["home is no tunnel6", "tunnel6-box, shed"]);
    no(&["web"], &["web is no tunnel6", "copy that"]);
    no(&["shed", "--as", "netplan"], &["changes", "leave `--as` out for a client with Straddle"]);
    no(&["box", "--as", "windows"], &["iproute2, netplan"]);
    no(&["box", "--json", "--into", "."], &["cannot be used with"]);
    check(
        &folder.invite(&["shed"]),
        0,
        &["scp -p root@192.0.2.10:/etc/straddle/shed.key", "--host shed run"],
    );
    fs::write(folder.0.join("straddle.toml"), "[host.vps]\nuplink = \"eth0\"\n").unwrap();
    no(&["box"], &["describe the client's tunnel as [[tunnel6]]"]);
}

#[test]
fn as_data() {
    let folder = Folder::new("data");
    let text = check_json(&folder.invite(&["box", "--as", "networkd", "--json"]));
    assert_eq!((&text["name"], &text["as"]), (&"box".into(), &"networkd".into()));
    assert_eq!(text["then"], "networkctl reload");
    let files = text["files"].as_array().unwrap();
    let paths: Vec<&str> = files.iter().map(|file| file["path"].as_str().unwrap()).collect();
    assert!(paths[0].ends_with(".netdev") && paths[1].ends_with(".network"), "{paths:?}");
    assert!(files.iter().all(|file| file["mode"] == "0644"), "{text}");
    assert!(files[0]["text"].as_str().unwrap().contains("Kind=sit"), "{text}");
}

fn check_json(output: &Output) -> Value {
    assert!(output.status.success());
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn files_are_written_and_none_is_written_over() {
    let folder = Folder::new("files");
    let into = folder.path("out");
    check(&folder.invite(&["box", "--as", "netplan", "--into", &into]), 1, &["name one that exists"]);
    let file = folder.path("straddle.toml");
    check(&folder.invite(&["box", "--as", "netplan", "--into", &file]), 1, &["name a folder"]);
    fs::create_dir(&into).unwrap();
    let words = ["box", "--as", "networkd", "--into", &into];
    let output = folder.invite(&words);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success() && said.ends_with("then, on the client: networkctl reload\n"), "{said}");
    let data = check_json(&folder.invite(&["box", "--as", "networkd", "--json"]));
    let file = |index: usize| {
        let path = data["files"][index]["path"].as_str().unwrap();
        let path = PathBuf::from(&into).join(PathBuf::from(path).file_name().unwrap());
        assert_eq!(fs::read_to_string(&path).unwrap(), data["files"][index]["text"].as_str().unwrap());
        path
    };
    let (first, second) = (file(0), file(1));
    fs::remove_file(&first).unwrap();
    fs::write(&second, "mine").unwrap();
    let again = folder.invite(&words);
    assert_eq!(again.status.code(), Some(1));
    assert!(!first.exists(), "all are asked after before one is written");
    assert_eq!(fs::read_to_string(&second).unwrap(), "mine");
    // netplan warns of files that others may read.
    assert!(folder.invite(&["box", "--as", "netplan", "--into", &into]).status.success());
    let mode = |name: &str| folder.0.join("out").join(name).metadata().unwrap().permissions().mode() & 0o777;
    let data = check_json(&folder.invite(&["box", "--as", "netplan", "--json"]));
    let path = PathBuf::from(data["files"][0]["path"].as_str().unwrap());
    assert_eq!(mode(path.file_name().unwrap().to_str().unwrap()), 0o600);
}
