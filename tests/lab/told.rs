//! A client without straddle's signed updates tells its address by HTTP, as stock DDNS clients do.
//!
//! ```text
//!  web ── inet ── vps       box and shed have tunnels to the vps; the shed's address changes
//!         │  │
//!        box shed
//! ```

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;
use straddle_lab::host::Host;
use straddle_lab::probe::{download_during, ping};
use straddle_lab::process::Process;
use straddle_lab::state::HostState;
use straddle_lab::straddle::Straddle;
use straddle_lab::world::Broker;
use straddle_lab::{LabError, wait};

use crate::{exe, fast_clients, same, turn};

const LONG: Duration = Duration::from_secs(15);
const KEY: &str = "a-key-of-the-shed-0123456789";

/// The world with its straddle, and what the vps listens by.
struct Story {
    world: Broker,
    straddle: Straddle,
    certificate: PathBuf,
}

impl Story {
    fn begin() -> Result<Story, LabError> {
        let world = Broker::build()?;
        let (certificate, key) = (world.directory().join("vps.pem"), world.directory().join("vps.key"));
        let words = format!(
            "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=vps \
             -addext subjectAltName=IP:192.0.2.10 -keyout {} -out {}",
            key.display(),
            certificate.display()
        );
        world.vps.run(&words.split(' ').collect::<Vec<_>>())?;
        guarded(&world.directory().join("http.key"), KEY);
        let straddle = Straddle::within(world.directory(), exe(), "")?;
        let story = Story { world, straddle, certificate };
        story.write("http://192.0.2.10:8080", "");
        Ok(story)
    }

    /// The file, with this URL and what goes with it.
    fn write(&self, url: &str, more: &str) {
        let key = self.path("http.key");
        let host = format!("ipv6 = \"2001:db8:1::10\"\nupdate-url = \"{url}\"\n{more}");
        let told = format!("update-key-file = \"{key}\"\nupdate-user = \"ann\"");
        let text = Broker::config(&self.world.directory().join("http.key"))
            .replace("ipv6 = \"2001:db8:1::10\"\n", &host)
            .replace(&format!("key-file = \"{key}\""), &told);
        fs::write(self.world.directory().join("straddle.toml"), text).unwrap();
    }

    fn path(&self, name: &str) -> String {
        self.world.directory().join(name).display().to_string()
    }

    /// Debian's ddclient on the shed tells whatever address the shed has; what it says.
    fn ddclient(&self) -> Result<String, LabError> {
        let text = format!(
            "daemon=0\nssl=no\nuse=if, if=eth0\nprotocol=dyndns2\nserver=192.0.2.10:8080\nlogin=ann\n\
             password='{KEY}'\nshed\n"
        );
        let file = self.world.directory().join("ddclient.conf");
        guarded(&file, &text);
        let (cache, pid) = (self.path("ddclient.cache"), self.path("ddclient.pid"));
        let file = file.display().to_string();
        let words = ["ddclient", "-file", &file, "-cache", &cache, "-pid", &pid, "-verbose", "-daemon", "0"];
        let _ = fs::remove_file(&cache);
        let said = self.world.shed.try_run(&words)?;
        Ok(said.stdout + &said.stderr)
    }

    /// Debian's inadyn, once, by TLS.
    fn inadyn(&self, address: &str) -> Result<String, LabError> {
        let text = format!(
            "ca-trust-file = \"{}\"\ncustom broker {{\n  username = ann\n  password = \"{KEY}\"\n  hostname = shed\n  \
             ddns-server = \"192.0.2.10:8443\"\n  ddns-path = \"/nic/update?hostname=%h&myip=%i\"\n  ssl = true\n  \
             checkip-command = \"/bin/echo {address}\"\n}}\n",
            self.certificate.display()
        );
        let file = self.world.directory().join("inadyn.conf");
        guarded(&file, &text);
        let (cache, pid) = (self.path("inadyn.cache"), self.path("inadyn.pid"));
        let _ = fs::remove_dir_all(&cache);
        fs::create_dir(&cache).unwrap();
        let file = file.display().to_string();
        let words = ["timeout", "20", "inadyn", "-1", "-n", "-C", "-l", "debug", "-f", &file, "--cache-dir"];
        let said = self.world.shed.try_run(&[&words[..], &[&cache, "-P", &pid]].concat())?;
        Ok(said.stdout + &said.stderr)
    }

    /// curl on the box asks for this; the answer.
    fn curl(&self, url: &str, user: &str, options: &[&str]) -> Result<String, LabError> {
        let words = ["curl", "-sS", "-m", "10", "--user", user];
        let said = self.world.box_.try_run(&[&words[..], options, &[url]].concat())?;
        Ok((said.stdout + &said.stderr).trim().to_owned())
    }

    fn status(&self) -> Value {
        let said = self.straddle.on(&self.world.vps).try_verb(&["status", "--json"]).unwrap();
        serde_json::from_str(&said.stdout).unwrap()
    }

    fn bridge(&self, name: &str) -> Value {
        let status = self.status();
        let bridges = status["bridges"].as_array().unwrap();
        bridges.iter().find(|bridge| bridge["bridge"]["name"] == name).unwrap().clone()
    }

    /// Where the vps sends what is for the shed.
    fn remote(&self) -> Option<String> {
        self.bridge("shed")["bridge"]["carrier"]["remote"].as_str().map(str::to_owned)
    }

    fn follows(&self, address: &str) -> Result<(), LabError> {
        let what = format!("the vps to follow to {address}");
        wait::until(&what, LONG, || (self.remote().as_deref() == Some(address)).then_some(()))?;
        wait::until("the shed to reach the web", LONG, || {
            ping(&self.world.shed, Broker::WEB.into(), 1).ok().filter(|ping| ping.complete())
        })
        .map(drop)
    }
}

/// For its owner alone.
fn guarded(path: &std::path::Path, text: &str) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
}

/// How often a name was counted among what a bridge was told by HTTP.
fn requests(bridge: &Value, name: &str) -> u64 {
    let all = bridge["update"]["requests"].as_array().into_iter().flatten();
    all.filter(|count| count[0] == name).filter_map(|count| count[1].as_u64()).sum()
}

/// Packets of a bridge in both directions, by either path.
fn carried(bridge: &Value) -> u64 {
    let (fast, slow) = fast_clients::carried(bridge);
    fast + slow
}

#[test]
fn stock_clients_tell_where_they_are() -> Result<(), LabError> {
    let Some(_turn) = turn("stock_clients_tell_where_they_are") else { return Ok(()) };
    let story = Story::begin()?;
    let Story { world, straddle, .. } = &story;
    let hosts = [&world.vps, &world.box_, &world.shed];
    let before = hosts.map(|host| HostState::read(host).unwrap());
    let mut running: Vec<Process> =
        hosts.iter().map(|host| straddle.on(host).run()).collect::<Result<_, _>>()?;
    let [first, second] = Broker::SHED4;

    assert_eq!(story.remote(), None, "nobody has told it yet");
    let told = story.ddclient()?;
    assert!(told.contains("SUCCESS:  updating shed: good: IP address set to 203.0.113.9"), "{told}");
    story.follows(&first.to_string())?;

    // The shed's download goes on at another address, and the box's counters as if nothing were.
    ping(&world.box_, Broker::WEB.into(), 20)?;
    let counted = carried(&story.bridge("box"));
    assert!(counted >= 40, "{counted} packets of the box");
    let (meanwhile, download) =
        download_during(&world.shed, &world.web, Broker::WEB.into(), world.directory(), || {
            world.move_shed(first, second)?;
            let told = story.ddclient()?;
            assert!(told.contains("good: IP address set to 203.0.113.77"), "{told}");
            story.follows(&second.to_string())
        })?;
    assert!(download.intact && meanwhile < download.bytes, "{download:?}, {meanwhile} bytes before the move");
    assert!(carried(&story.bridge("box")) >= counted, "the box's counters go on");

    refused(&story)?;
    by_tls(&story)?;

    // What was told is known after a restart.
    straddle.on(&world.vps).verb(&["up"])?;
    running.remove(0).stop(LONG)?;
    running.insert(0, straddle.on(&world.vps).run()?);
    assert_eq!(story.remote(), Some(second.to_string()));
    story.follows(&second.to_string())?;

    world.move_shed(second, first)?;
    for (host, process) in hosts.iter().zip(running) {
        straddle.on(host).down()?;
        process.ends(LONG)?;
    }
    for (host, before) in hosts.iter().zip(&before) {
        same("after down", before, host);
    }
    Ok(())
}

/// What changes nothing, with its answer.
fn refused(story: &Story) -> Result<(), LabError> {
    let known = story.remote();
    let user = format!("ann:{KEY}");
    let ask = |hostname: &str, myip: &str, user: &str| {
        let url = format!("http://192.0.2.10:8080/nic/update?hostname={hostname}&myip={myip}");
        story.curl(&url, user, &[])
    };
    assert_eq!(ask("shed", "203.0.113.66", "ann:wrong")?, "badauth");
    assert_eq!(ask("nowhere", "203.0.113.66", &user)?, "nohost");
    assert_eq!(ask("shed", "203.0.113.77", &user)?, "nochg 203.0.113.77");
    assert_eq!(ask("shed", "127.0.0.1", &user)?, "badip");
    let mut answers = Vec::new();
    for _ in 0..40 {
        answers.push(ask("shed", "203.0.113.66", "ann:guess")?);
    }
    assert!(answers.iter().all(|answer| answer == "badauth" || answer == "abuse"), "{answers:?}");
    assert!(answers.iter().any(|answer| answer == "abuse"), "{answers:?}");
    assert_eq!(story.remote(), known, "none of them has changed anything");
    let shed = story.bridge("shed");
    assert_eq!((requests(&shed, "unchanged"), requests(&shed, "accepted")), (1, 2), "{shed}");
    assert!(requests(&shed, "wrong-credentials") > 5, "{shed}");
    let shown = story.straddle.on(&story.world.vps).try_verb(&["status"])?.stdout;
    assert!(shown.contains("wrong-credentials") && shown.contains("rate-limited"), "{shown}");
    Ok(())
}

/// The file is read anew, and what was http is https from then on.
fn by_tls(story: &Story) -> Result<(), LabError> {
    let (certificate, key) = (story.certificate.display().to_string(), story.path("vps.key"));
    let more = format!("certificate = \"{certificate}\"\ncertificate-key = \"{key}\"\n");
    story.write("https://192.0.2.10:8443", &more);
    story.straddle.on(&story.world.vps).up()?;
    let url = "https://192.0.2.10:8443/nic/update?hostname=shed&myip=203.0.113.77";
    let trusting = ["--cacert", &certificate];
    wait::until("https", LONG, || {
        let told = story.curl(url, &format!("ann:{KEY}"), &trusting).ok()?;
        (told == "nochg 203.0.113.77").then_some(())
    })?;
    let told = story.curl(url, &format!("ann:{KEY}"), &[])?;
    assert!(told.contains("certificate"), "who does not trust it tells no key: {told}");
    let told = story.inadyn("203.0.113.66")?;
    assert!(told.contains("good 203.0.113.66"), "{told}");
    assert_eq!(story.remote().as_deref(), Some("203.0.113.66"));
    let told = story.inadyn("203.0.113.77")?;
    assert!(told.contains("good 203.0.113.77"), "{told}");
    story.follows("203.0.113.77")
}

/// Ten changes of one client's endpoint; another one's pings lose nothing, and its counters go on. Nothing of a tunnel
/// that the file no longer has is in the way of another.
#[test]
fn a_client_that_moves_disturbs_no_other() -> Result<(), LabError> {
    let Some(_turn) = turn("a_client_that_moves_disturbs_no_other") else { return Ok(()) };
    let story = Story::begin()?;
    let Story { world, straddle, .. } = &story;
    let hosts = [&world.vps, &world.box_];
    let running: Vec<Process> = hosts.iter().map(|host| straddle.on(host).run()).collect::<Result<_, _>>()?;
    let first = || ping(&world.box_, Broker::WEB.into(), 1).ok().filter(|ping| ping.complete());
    wait::until("the box to reach the web", LONG, first)?;
    let before = carried(&story.bridge("box"));
    let web = Broker::WEB.to_string();
    let lost = std::thread::scope(|scope| -> Result<String, LabError> {
        let words = ["ping", "-n", "-q", "-c", "2000", "-i", "0.002", "-W", "2", &web];
        let pinging = scope.spawn(move || world.box_.try_run(&words));
        for number in 0..10 {
            let address = format!("203.0.113.{}", 100 + number % 2);
            let url = format!("http://192.0.2.10:8080/nic/update?hostname=shed&myip={address}");
            assert_eq!(story.curl(&url, &format!("ann:{KEY}"), &[])?, format!("good {address}"));
            wait::until("the vps to follow", LONG, || {
                (story.remote() == Some(address.clone())).then_some(())
            })?;
        }
        match pinging.join() {
            Ok(said) => Ok(said?.stdout),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })?;
    assert!(lost.contains(" 2000 received, 0% packet loss"), "{lost}");
    let carried = carried(&story.bridge("box")) - before;
    assert!(carried >= 4000, "{carried} packets of the box");
    let path = story.path("straddle.toml");
    let renamed = fs::read_to_string(&path).unwrap().replace("name = \"shed\"", "name = \"hut\"");
    fs::write(&path, renamed).unwrap();
    straddle.on(&world.vps).up()?;
    let url = "http://192.0.2.10:8080/nic/update?hostname=hut&myip=203.0.113.101";
    let told = || story.curl(url, &format!("ann:{KEY}"), &[]).ok().filter(|told| told.starts_with("good "));
    wait::until("the hut to be where the shed was", LONG, told)?;
    for (host, process) in hosts.iter().zip(running) {
        straddle.on(host).down()?;
        process.ends(LONG)?;
    }
    Ok(())
}

/// A signed update with the wrong key is met with silence; both ends say what to look at.
#[test]
fn a_wrong_key_is_told_at_both_ends() -> Result<(), LabError> {
    let Some(_turn) = turn("a_wrong_key_is_told_at_both_ends") else { return Ok(()) };
    let world = Broker::build()?;
    let key = world.directory().join("shed.key");
    let straddle = Straddle::within(world.directory(), exe(), &Broker::config(&key))?;
    let print = |host: &Host| -> String {
        straddle.on(host).verb(&["key", &key.display().to_string()]).unwrap();
        let running = straddle.on(host).run().unwrap();
        let shown = wait::until("its status", LONG, || {
            let said = straddle.on(host).try_verb(&["status", "--json"]).ok()?;
            let status: Value = serde_json::from_str(&said.stdout).ok()?;
            let bridges = status["bridges"].as_array()?.clone();
            let shed = bridges.into_iter().find(|bridge| bridge["bridge"]["name"] == "shed")?;
            Some(shed["update"]["key_print"].as_str()?.to_owned())
        });
        running.leave();
        fs::remove_file(&key).unwrap();
        shown.unwrap()
    };
    let (server, client) = (print(&world.vps), print(&world.shed));
    assert!(server != client && server.len() == 8, "{server} {client}");
    let words = |host: &Host, word: &str| {
        wait::until(&format!("`{word}` on {}", host.name()), LONG, || {
            let shown = straddle.on(host).try_verb(&["status"]).ok()?.stdout;
            let shown = shown.split_whitespace().collect::<Vec<_>>().join(" ");
            shown.contains(word).then_some(())
        })
    };
    words(&world.shed, "192.0.2.10:4646 does not answer")?;
    words(&world.shed, &format!("This end's key shows as {client}"))?;
    words(&world.vps, "forged")?;
    words(&world.vps, &format!("key {server}"))?;
    for host in [&world.vps, &world.shed] {
        straddle.on(host).down()?;
    }
    Ok(())
}
