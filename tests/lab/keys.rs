//! Keys and certificates that are not as they should be: nobody else pays for it, and it is said.
//!
//! ```text
//!  web ── inet ── vps       box and shed have tunnels to the vps, and tell it by HTTP where they are
//!         │  │
//!        box shed
//! ```

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use straddle_lab::LabError;
use straddle_lab::straddle::Straddle;
use straddle_lab::wait;
use straddle_lab::world::Broker;

use crate::{exe, turn};

const LONG: Duration = Duration::from_secs(15);
const KEY: &str = "a-key-for-http-0123456789";

/// The file: each client has a key of its own below the world's directory.
fn config(world: &Broker, url: &str) -> String {
    let mut text = Broker::FIXED.replace("[host.vps]\n", &format!("[host.vps]\n{url}\n"));
    for client in ["box", "shed"] {
        let key = world.directory().join(format!("{client}.key"));
        let told = format!("client-endpoint = \"dynamic\"\nupdate-key-file = \"{}\"", key.display());
        text = text.replace(&format!("client = \"{client}\"\n"), &format!("client = \"{client}\"\n{told}\n"));
    }
    text
}

fn write_key(world: &Broker, client: &str, mode: u32) {
    let path = world.directory().join(format!("{client}.key"));
    fs::write(&path, format!("{KEY}-{client}")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
}

/// What the vps answers to a client that tells where it is.
fn update(world: &Broker, client: &str) -> Result<String, LabError> {
    let (host, user) = match client {
        "box" => (&world.box_, format!("box:{KEY}-box")),
        _ => (&world.shed, format!("shed:{KEY}-shed")),
    };
    let url = format!("http://192.0.2.10:8080/nic/update?hostname={client}");
    let said = host.try_run(&["curl", "-sS", "-m", "10", "--user", &user, &url])?;
    Ok((said.stdout + &said.stderr).trim().to_owned())
}

/// What a verb says, unfolded, and how it ends.
fn said(straddle: &Straddle, world: &Broker, words: &[&str]) -> Result<(String, Option<i32>), LabError> {
    let output = straddle.on(&world.vps).try_verb(words)?;
    let text = output.stdout + &output.stderr;
    Ok((text.split_whitespace().collect::<Vec<_>>().join(" "), output.status.code()))
}

/// With clients heard by HTTP.
fn hearing(world: &Broker) -> Result<Straddle, LabError> {
    let text = config(world, "update-url = \"http://192.0.2.10:8080\"");
    Straddle::within(world.directory(), exe(), &text)
}

#[test]
fn a_missing_key_leaves_out_its_tunnel_alone() -> Result<(), LabError> {
    let Some(_turn) = turn("a_missing_key_leaves_out_its_tunnel_alone") else { return Ok(()) };
    let world = Broker::build()?;
    let straddle = hearing(&world)?;
    write_key(&world, "shed", 0o600);
    let (told, code) = said(&straddle, &world, &["check"])?;
    assert_eq!(code, Some(2), "{told}");
    for word in ["box.key: No such file", "make one with `straddle key FILE`", "1 mistake in"] {
        assert!(told.contains(word), "`{word}`: {told}");
    }
    let mut running = straddle.on(&world.vps).run()?;
    let log = running.log().split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(log.contains("error: box: where its other end is can't be heard: "), "{log}");
    assert_eq!(update(&world, "shed")?, "good 203.0.113.9");
    assert_eq!(update(&world, "box")?, "badauth");
    let (told, code) = said(&straddle, &world, &["status"])?;
    assert!(told.contains("box.key: No such file") && code == Some(3), "{code:?}: {told}");

    // As others may read it, it is none yet; that is said too. Whatever makes the host be looked at finds it.
    write_key(&world, "box", 0o644);
    world.vps.ip("link add in0 type veth peer name in1")?;
    running.says("not for its", LONG)?;
    write_key(&world, "box", 0o600);
    world.vps.ip("link del in0")?;
    running.says("box: its key is there, and updates are heard", LONG)?;
    wait::until("the box to be heard", LONG, || {
        (update(&world, "box").ok()? == "good 198.51.100.7").then_some(())
    })?;
    let (told, code) = said(&straddle, &world, &["check"])?;
    assert!(told.contains("no mistakes; this host is `vps`") && code == Some(0), "{told}");
    straddle.on(&world.vps).down()?;
    running.ends(LONG)
}

/// A port that somebody else has is told once for all looks, and taken once it is free.
#[test]
fn a_port_in_use_is_told_once() -> Result<(), LabError> {
    let Some(_turn) = turn("a_port_in_use_is_told_once") else { return Ok(()) };
    let world = Broker::build()?;
    let straddle = hearing(&world)?;
    write_key(&world, "box", 0o600);
    write_key(&world, "shed", 0o600);
    let listener = ["sh", "-c", "socat TCP4-LISTEN:8080,bind=192.0.2.10,fork PIPE >/dev/null 2>&1 & echo $!"];
    let listener = world.vps.run(&listener)?.stdout.trim().to_owned();
    wait::until("the port to be taken", LONG, || {
        world.vps.run(&["ss", "-Hltn", "sport = :8080"]).ok().filter(|shown| !shown.stdout.is_empty())
    })?;
    let mut running = straddle.on(&world.vps).run()?;
    for line in ["link add in0 type veth peer name in1", "link del in0"] {
        world.vps.ip(line)?;
        straddle.on(&world.vps).verb(&["status"]).ok();
    }
    let told = |log: &str| log.matches("Address already in use").count();
    let unfolded = |log: String| log.split_whitespace().collect::<Vec<_>>().join(" ");
    assert_eq!(told(&unfolded(running.log())), 1, "{}", running.log());
    // Whoever has the file read anew is told once more.
    straddle.on(&world.vps).up()?;
    running.says("read ", LONG)?;
    assert_eq!(told(&unfolded(running.log())), 2, "{}", running.log());
    world.vps.run(&["kill", &listener])?;
    wait::until("the shed to be heard", LONG, || {
        let _ = world.vps.ip("link add in0 type veth peer name in1\nlink del in0");
        (update(&world, "shed").ok()? == "good 203.0.113.9").then_some(())
    })?;
    straddle.on(&world.vps).down()?;
    running.ends(LONG)
}

/// Certificates that clients won't trust: `check` and `run` say why.
#[test]
fn certificates_are_looked_at() -> Result<(), LabError> {
    let Some(_turn) = turn("certificates_are_looked_at") else { return Ok(()) };
    let world = Broker::build()?;
    let (certificate, key) = (world.directory().join("vps.pem"), world.directory().join("vps.key"));
    let url = format!(
        "update-url = \"https://vps.example:8443\"\ncertificate = \"{}\"\ncertificate-key = \"{}\"",
        certificate.display(),
        key.display()
    );
    let straddle = Straddle::within(world.directory(), exe(), &config(&world, &url))?;
    write_key(&world, "box", 0o600);
    write_key(&world, "shed", 0o600);
    let check = |code: i32, word: &str| -> Result<(), LabError> {
        let (told, ended) = said(&straddle, &world, &["check"])?;
        assert!(told.contains(word) && ended == Some(code), "{ended:?}, `{word}`: {told}");
        Ok(())
    };
    check(2, "vps.pem: No such file or directory")?;
    check(2, "vps.key: No such file or directory")?;
    let made = |words: &str| -> Result<(), LabError> {
        let words = format!("openssl req -x509 -newkey rsa:2048 -nodes {words}");
        let files = ["-keyout", &key.display().to_string(), "-out", &certificate.display().to_string()];
        world.vps.run(&words.split(' ').chain(files).collect::<Vec<_>>()).map(drop)
    };
    made("-days 2 -subj /CN=vps -addext subjectAltName=DNS:other.example,IP:192.0.2.10")?;
    check(0, "vps.pem: the certificate is for other.example, 192.0.2.10, and clients ask for vps.example")?;
    check(0, "the certificate expires in ")?;
    let running = straddle.on(&world.vps).run()?;
    let log = running.log().split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(log.contains("warning:") && log.contains("clients ask for vps.example"), "{log}");
    straddle.on(&world.vps).down()?;
    running.ends(LONG)?;
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    check(2, "vps.key is not for its owner alone (mode 0644)")?;
    fs::set_permissions(&key, fs::Permissions::from_mode(0o640)).unwrap();
    check(0, "no mistakes")?;
    fs::write(&certificate, "nothing").unwrap();
    check(2, "vps.pem has no certificate in it")?;
    made("-days 200 -subj /CN=vps -addext subjectAltName=DNS:vps.example")?;
    let (told, _) = said(&straddle, &world, &["check"])?;
    assert!(!told.contains("warning"), "{told}");
    // Where nobody knows which host it is, nothing is missed.
    let elsewhere = world.web.try_run(
        &[exe().display().to_string().as_str(), "--config"]
            .into_iter()
            .chain([world.directory().join("straddle.toml").display().to_string().as_str(), "check"])
            .collect::<Vec<_>>(),
    )?;
    assert!(elsewhere.stdout.contains("keys and certificates were not looked at"), "{}", elsewhere.stdout);
    Ok(())
}
