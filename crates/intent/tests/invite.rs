//! What an invitation says: as written in `invite/TUNNEL.FORMAT` (`STRADDLE_BLESS=1` writes them anew), and read by
//! the tools that it is for.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that meets the unexpected fails")]

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use straddle_intent::invite::{Format, Handout, Invitation};
use straddle_intent::model::{self, Model};

/// The least, everything, an endpoint that changes, and names that no tool may take for more than that.
const FILE: &str = include_str!("invite/straddle.toml");

const NAMES: [&str; 4] = ["box", "full", "shed", "it's\n$(touch /nowhere); \"odd\""];

fn model() -> Model {
    model::read(FILE).unwrap_or_else(|found| panic!("{found:?}"))
}

fn invitation<'a>(model: &'a Model, name: &str) -> Invitation<'a> {
    Invitation::to(model, name).unwrap()
}

fn each(format: Format, mut test: impl FnMut(&str, &Handout)) {
    let model = model();
    for name in NAMES {
        test(name, &invitation(&model, name).handout(format));
    }
}

struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let folder = std::env::temp_dir().join(format!("straddle-invite-{}-{name}", std::process::id()));
        fs::create_dir(&folder).unwrap();
        Folder(folder)
    }

    /// Writes all files of a handout below the folder, and tells where they are.
    fn write(&self, handout: &Handout) -> Vec<String> {
        let pieces = handout.pieces.iter().map(|piece| {
            let path = self.0.join(piece.path.trim_start_matches('/'));
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, &piece.text).unwrap();
            fs::set_permissions(&path, Permissions::from_mode(piece.mode)).unwrap();
            path.display().to_string()
        });
        pieces.collect()
    }

    fn path(&self) -> String {
        self.0.display().to_string()
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
fn every_text_is_as_written() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/invite");
    let mut wrong = Vec::new();
    for format in Format::ALL {
        each(*format, |name, handout| {
            let plain = name.chars().all(char::is_alphanumeric);
            let path = folder.join(format!("{}.{}", if plain { name } else { "odd" }, format.name()));
            let (found, expected) = (handout.text(), fs::read_to_string(&path).unwrap_or_default());
            if std::env::var_os("STRADDLE_BLESS").is_some() {
                fs::write(&path, &found).unwrap();
            } else if expected != found {
                wrong.push(format!("{}\n--- expected\n{expected}--- found\n{found}", path.display()));
            }
        });
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn nothing_is_said_of_others() {
    // Each one's own, and what only the server has to know.
    let own = [
        ["198.51.100.7", "2001:db8:1::3"].as_slice(),
        &["198.51.100.8", "2001:db8:1::5", "2001:db8:101:"],
        &["203.0.113.9", "2001:db8:1::7", "2001:db8:102:", "shed.key"],
        &["198.51.100.9", "2001:db8:1::9", "2001:db8:103:"],
    ];
    for format in Format::ALL {
        each(*format, |name, handout| {
            let text = handout.text();
            for (_, words) in NAMES.iter().zip(own).filter(|(other, _)| **other != name) {
                assert!(!words.iter().any(|word| text.contains(word)), "{words:?} in\n{text}");
            }
            assert!(!text.contains("192.0.2.77") && !text.contains("2001:db8:1::1\""), "{text}");
        });
    }
}

#[test]
fn a_straddle_file_says_the_same_of_the_tunnel() {
    let model = model();
    each(Format::Straddle, |name, handout| {
        let read = model::read(&handout.pieces[0].text);
        let read = read.unwrap_or_else(|found| panic!("{found:?}\n{}", handout.pieces[0].text));
        let known = Invitation::to(&model, name).unwrap();
        let mut whole = model.tunnels6.iter().find(|tunnel| tunnel.name == known.name()).unwrap().clone();
        // The rest of a pool is the server's, and a Straddle does not tell it by HTTP.
        whole.pool.clear();
        whole.http = None;
        let told = read.tunnels6.first().unwrap();
        (whole.span, whole.routed_at) = (told.span.clone(), told.routed_at.clone());
        if let (Some(whole), Some(told)) = (&mut whole.update, &told.update) {
            whole.key_file.span = told.key_file.span.clone();
        }
        assert_eq!(read.tunnels6, [whole]);
        assert_eq!(read.hosts.len(), 2);
        let backends = [&model, &read].map(|model| {
            let client = &read.tunnels6[0].client.host;
            let client = model.hosts.iter().find(|host| host.name == *client).unwrap();
            client.backend.as_ref().map(|backend| backend.value)
        });
        assert_eq!(backends[0], backends[1]);
    });
}

#[test]
fn names_lead_to_tunnels() {
    let model = model();
    let check = |name: &str, expected: Option<&str>| {
        assert_eq!(Invitation::to(&model, name).as_ref().map(Invitation::name), expected, "{name}");
    };
    check("box", Some("box"));
    check("tunnel6-full", Some("tunnel6-full"));
    check("full", Some("tunnel6-full"));
    check("vps", None);
    check("", None);
    let second = "\n[host.other]\nuplink = \"eth0\"\nipv4 = \"192.0.2.11/24\"\n[[tunnel6]]\nname = \"second\"\n\
                  server = \"other\"\nclient = \"full\"\nlink = \"2001:db8:9::2/127\"\n";
    let model = model::read(&format!("{FILE}{second}")).unwrap();
    assert!(Invitation::to(&model, "full").is_none(), "which of its two tunnels?");
    assert!(Invitation::to(&model, "second").is_some() && Invitation::to(&model, "tunnel6-full").is_some());
}

#[test]
fn an_endpoint_that_changes_is_told() {
    let whole = model();
    let keys = ["key-file        = \"/etc/straddle/it's shed.key\"\nupdate-port     = 4647\n"];
    let by_http = model::read(&FILE.replace(keys[0], "")).unwrap();
    let signed = FILE.replace("update-", "# update-").replace("certificate", "# certificate");
    let signed = model::read(&signed).unwrap();
    for format in Format::ALL {
        let straddle = *format == Format::Straddle;
        assert!(invitation(&whole, "shed").tells(*format) && invitation(&whole, "box").tells(*format));
        assert_eq!(invitation(&by_http, "shed").tells(*format), !straddle);
        assert_eq!(invitation(&signed, "shed").tells(*format), straddle);
        let text = invitation(&whole, "shed").handout(*format).text();
        let url = "'https://vps.example/nic/update?hostname=shed'";
        assert_eq!(text.contains(url), !straddle, "{text}");
        assert_eq!(text.contains("/etc/straddle/shed-http.key"), !straddle, "{text}");
    }
}

#[test]
fn netplan_makes_of_it_what_networkd_is_told() {
    each(Format::Netplan, |name, handout| {
        let folder = Folder::new(&format!("netplan-{}", handout.pieces[0].path.replace('/', "-")));
        folder.write(handout);
        let said = good("netplan", &["generate", "--root-dir", &folder.path()]);
        assert_eq!(said, "", "{name}: a warning");
        let run = folder.0.join("run/systemd/network");
        let model = model();
        let ours = invitation(&model, name).handout(Format::Networkd).pieces;
        let device =
            Path::new(&ours[0].path).file_stem().unwrap().to_str().unwrap()["60-".len()..].to_owned();
        let made =
            |ending: &str| fs::read_to_string(run.join(format!("10-netplan-{device}.{ending}"))).unwrap();
        let lines = |text: &str, words: &[&str]| -> Vec<String> {
            let lines = text.lines().filter(|line| words.iter().any(|word| line.starts_with(word)));
            lines.map(str::to_owned).collect()
        };
        let words = ["Name=", "Kind=", "Remote=", "TTL=", "MTUBytes="];
        assert_eq!(lines(&made("netdev"), &words).len(), 5);
        let sorted = |text: &str, words: &[&str]| {
            let mut lines = lines(text, words);
            lines.sort();
            lines
        };
        assert_eq!(sorted(&made("netdev"), &words), sorted(&ours[0].text, &words));
        let words = ["Name=", "Address=", "IPv6AcceptRA=", "Destination=", "Gateway=", "Type=", "Metric="];
        assert_eq!(sorted(&made("network"), &words), sorted(&ours[1].text, &words));
        let lan = fs::read_dir(&run).unwrap().find_map(|entry| {
            let text = fs::read_to_string(entry.unwrap().path()).unwrap();
            text.contains("::1/64").then_some(text)
        });
        assert_eq!(lan.is_some(), handout.pieces.len() == 2);
    });
}

#[test]
fn ifup_would_run_these() {
    each(Format::Ifupdown, |name, handout| {
        let folder = Folder::new(&format!("ifupdown-{}", handout.then.replace(' ', "-")));
        let file = folder.write(handout).remove(0);
        let words = ["-a", "--no-act", "--verbose", "--interfaces", &file, "--state-dir", &folder.path()];
        let told = good("ifup", &words);
        assert!(told.contains("mode sit remote 192.0.2.10"), "{told}");
        let mtu = if name == "full" { "mtu 1472" } else { "mtu 1480" };
        assert!(
            told.contains("ttl 64") && told.contains(mtu) && told.contains("ip route add ::/0 via"),
            "{told}"
        );
        let of_lan = told.contains("ip -6 address replace 2001:db8:103::1/64 dev 'e'\\''$(x);\"#\\'");
        assert_eq!(of_lan, name.starts_with("it's"), "{told}");
    });
}

/// What a shell makes of a script, with other words in the place of the commands: theirs, each in brackets.
fn heard(script: &str, commands: &[&str]) -> String {
    let functions: String = commands
        .iter()
        .map(|name| format!("{name}() {{ printf '[%s]' {name} \"$@\"; printf '\\n'; }}\n"))
        .collect();
    good("sh", &["-c", &format!("{functions}{script}")])
}

#[test]
fn a_shell_runs_these() {
    each(Format::Iproute2, |name, handout| {
        let text = handout.text();
        good("sh", &["-n", "-c", &text]);
        let said = heard(&text, &["ip", "sysctl"]);
        match name {
            "box" => has(
                &said,
                &[
                    "[ip][link][add][st-box][type][sit][remote][192.0.2.10][local][198.51.100.7][ttl][64]",
                    "[ip][link][set][st-box][mtu][1480][up]",
                    "[ip][-6][address][add][2001:db8:1::3/127][dev][st-box]",
                    "[ip][-6][route][add][::/0][via][2001:db8:1::2][dev][st-box]",
                ],
            ),
            "full" => has(
                &said,
                &[
                    "[ip][-6][route][replace][unreachable][2001:db8:101::/48][metric][65535]",
                    "[sysctl][-w][net.ipv6.conf.all.forwarding=1]",
                    "[ip][-6][address][replace][2001:db8:1:100::1/64][dev][eth1]",
                ],
            ),
            "shed" => has(&said, &["[ip][link][add][st-shed][type][sit][remote][192.0.2.10][ttl][64]"]),
            _ => has(&said, &["[ip][-6][address][replace][2001:db8:103::1/64][dev][e'$(x);\"#\\]"]),
        }
        assert_eq!(
            said.lines().filter(|line| !line.starts_with("[ip]")).count(),
            said.matches("[sysctl]").count()
        );
    });
}

#[test]
fn several_files_are_written_by_one_script() {
    each(Format::Networkd, |_, handout| {
        let folder = Folder::new(&format!("several{}", handout.pieces[0].path.replace('/', "-")));
        let mut text = handout.text();
        for piece in &handout.pieces {
            let path = folder.0.join(piece.path.trim_start_matches('/'));
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            text = text.replace(&format!("cat >{}", piece.path), &format!("cat >{}", path.display()));
        }
        let said = heard(&text, &["networkctl", "sysctl"]);
        assert!(said.ends_with("[networkctl][reload]\n"), "{said}");
        assert_eq!(said.contains("[sysctl][-p]"), handout.pieces.len() == 3, "{said}");
        for piece in &handout.pieces {
            let path = folder.0.join(piece.path.trim_start_matches('/'));
            assert_eq!(fs::read_to_string(&path).unwrap(), piece.text);
            assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, piece.mode);
        }
    });
}

/// OpenWrt's own `uci` takes the batch, twice, and a router's other settings stay.
#[test]
fn uci_takes_the_batch() {
    const FIREWALL: &str = "config zone\n\toption name 'lan'\n\tlist network 'lan'\n\n\
                            config zone\n\toption name 'wan'\n\tlist network 'wan'\n\tlist network 'wan6'\n";
    let uci = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scripts/uci").display().to_string();
    each(Format::Openwrt, |name, handout| {
        let section =
            Path::new(&handout.pieces[0].path).file_stem().unwrap().to_str().unwrap().replace('-', "_");
        let folder = Folder::new(&format!("uci-{section}"));
        fs::write(folder.0.join("network"), "config interface 'lan'\n\toption ip6assign '60'\n").unwrap();
        fs::write(folder.0.join("firewall"), FIREWALL).unwrap();
        let options = format!("-c {0} -t {0}/delta", folder.path());
        let script = handout.text().replace("/etc/init.d/", "reload ");
        let commands =
            format!("uci() {{ '{uci}' {options} \"$@\"; }}\nreload() {{ printf 'reload %s\\n' \"$*\"; }}\n");
        for _ in 0..2 {
            let said = good("sh", &["-c", &format!("{commands}{script}")]);
            assert_eq!(said, "reload network reload\nreload firewall reload\n", "{name}");
        }
        let shown = |what: &str| {
            good(&uci, &["-c", &folder.path(), "-t", &format!("{}/delta", folder.path()), "show", what])
        };
        let network = shown("network");
        let of_it = |line: &&str| line.starts_with(&format!("network.{section}"));
        let mtu = if name == "full" { 1472 } else { 1480 };
        let mut expected =
            vec!["=interface".to_string(), ".proto='6in4'".into(), ".peeraddr='192.0.2.10'".into()];
        expected.extend(match name {
            "box" => vec![".ipaddr='198.51.100.7'".to_string(), ".ip6addr='2001:db8:1::3/127'".into()],
            "full" => vec![".ipaddr='198.51.100.8'".into(), ".ip6addr='2001:db8:1::5/127'".into()],
            "shed" => vec![".ip6addr='2001:db8:1::7/127'".into()],
            _ => vec![".ipaddr='198.51.100.9'".into(), ".ip6addr='2001:db8:1::9/127'".into()],
        });
        expected.extend([format!(".mtu='{mtu}'"), ".ttl='64'".into()]);
        let prefixes = match name {
            "box" => None,
            "full" => Some("'2001:db8:1:100::/64' '2001:db8:101::/48' '2001:db8:1:200::1/128'"),
            "shed" => Some("'2001:db8:102::/48'"),
            _ => Some("'2001:db8:103::/48'"),
        };
        expected.extend(prefixes.map(|prefixes| format!(".ip6prefix={prefixes}")));
        let expected: Vec<String> = expected.iter().map(|end| format!("network.{section}{end}")).collect();
        assert_eq!(network.lines().filter(of_it).collect::<Vec<_>>(), expected);
        assert!(network.contains("network.lan.ip6assign='60'"), "{network}");
        let firewall = shown("firewall");
        has(&firewall, &[&format!("firewall.@zone[1].network='wan' 'wan6' '{section}'")]);
        has(&firewall, &["firewall.@zone[0].network='lan'"]);
    });
}
