//! Updates by HTTP over the loopback device, by clients as routers and servers have them.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that meets the unexpected fails")]

use std::fs::{self, Permissions};
use std::io::{Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpStream};
use std::ops::Deref;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::{Command, Output};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{AddressFamily, SocketType};
use straddle_lab::wait;
use straddle_serve::http::{Expected, Secret, Server, Tls, Transport};
use straddle_serve::told::Endpoints;
use straddle_wire::ip::Version;

const LONG: Duration = Duration::from_secs(30);
const KEY: &str = "0f1e2d3c4b5a69788796a5b4c3d2e1f00f1e2d3c4b5a69788796a5b4c3d2e1f0";
/// `ann:` and the key above, in base64.
const BASIC: &str =
    "YW5uOjBmMWUyZDNjNGI1YTY5Nzg4Nzk2YTViNGMzZDJlMWYwMGYxZTJkM2M0YjVhNjk3ODg3OTZhNWI0YzNkMmUxZjA=";

fn expected() -> Vec<Expected> {
    let one = |hostname: &str| Expected {
        bridge: format!("tunnel6 {hostname}"),
        hostname: hostname.into(),
        user: "ann".into(),
        key: Secret::new(KEY.into()),
        version: Version::V4,
    };
    vec![one("home.example"), one("office.example")]
}

/// A server, and what it was told.
struct Broker {
    server: Server,
    endpoints: Arc<Endpoints>,
}

impl Deref for Broker {
    type Target = Server;

    fn deref(&self) -> &Server {
        &self.server
    }
}

fn broker(transport: Transport) -> Broker {
    let endpoints = Arc::new(Endpoints::new([]).unwrap());
    let listen = ["127.0.0.1:0".parse().unwrap()];
    let server = Server::begin(&listen, transport, expected(), endpoints.clone()).unwrap();
    Broker { server, endpoints }
}

fn plain() -> Broker {
    broker(Transport::Plain)
}

fn address(server: &Server) -> SocketAddr {
    server.addresses()[0]
}

fn endpoint(broker: &Broker) -> Option<IpAddr> {
    broker.endpoints.all().get("tunnel6 home.example").copied()
}

/// Everything that the server says to these bytes, until it closes.
fn say(to: SocketAddr, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(to).unwrap();
    stream.set_read_timeout(Some(LONG)).unwrap();
    // The server may have answered, and closed, before all is sent.
    let _ = stream.write_all(bytes);
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text
}

fn get(query: &str) -> String {
    format!("GET /nic/update?{query} HTTP/1.1\r\nHost: broker\r\nAuthorization: Basic {BASIC}\r\n\r\n")
}

/// Status and body.
fn answer(to: SocketAddr, request: &str) -> String {
    let text = say(to, request.as_bytes());
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{text:?}"));
    format!("{} {}", head.split(' ').nth(1).unwrap(), body.trim_end())
}

fn counted(server: &Server, name: &str, least: u64) {
    let count = |server: &Server| {
        let requests = server.reports().into_iter().flat_map(|report| report.requests);
        requests.chain(server.strangers()).filter(|(known, _)| *known == name).map(|(_, count)| count).sum()
    };
    let count = |server: &Server| -> u64 { count(server) };
    wait::until(name, LONG, || (count(server) >= least).then_some(()))
        .unwrap_or_else(|error| panic!("{error}: {:?} {:?}", server.reports(), server.strangers()));
}

/// A folder of this test's.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let folder = std::env::temp_dir().join(format!("straddle-http-{}-{name}", std::process::id()));
        fs::create_dir(&folder).unwrap();
        Folder(folder)
    }

    fn file(&self, name: &str, text: &str) -> String {
        let path = self.0.join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        path.display().to_string()
    }

    fn path(&self, name: &str) -> String {
        self.0.join(name).display().to_string()
    }

    /// A certificate for the loopback address that is its own root, and its key.
    fn certificate(&self, name: &str) -> (String, String) {
        let (certificate, key) = (self.path(&format!("{name}.pem")), self.path(&format!("{name}.key")));
        let words = format!(
            "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost \
            -addext subjectAltName=IP:127.0.0.1,DNS:localhost -keyout {key} -out {certificate}"
        );
        good("openssl", &words.split_whitespace().collect::<Vec<_>>());
        (certificate, key)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).unwrap();
    }
}

fn run(program: &str, words: &[&str]) -> Output {
    let path = format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_default());
    // What goes on is ended: a client that waits to try again has failed.
    let mut command = Command::new("timeout");
    command
        .args(["15", program])
        .args(words)
        .env("PATH", path)
        .env_remove("http_proxy")
        .env_remove("https_proxy");
    command.output().unwrap_or_else(|error| panic!("{program}: {error}; scripts/deps installs it"))
}

fn good(program: &str, words: &[&str]) -> String {
    let output = run(program, words);
    let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.success(), "{program} {words:?}: {}\n{text}", output.status);
    text
}

#[test]
fn an_update_is_news_once() {
    let server = plain();
    let rung = || {
        let mut fds = [PollFd::from_borrowed_fd(server.endpoints.fd(), PollFlags::IN)];
        poll(&mut fds, Some(&Timespec::try_from(Duration::ZERO).unwrap())).unwrap();
        !fds[0].revents().is_empty()
    };
    assert!(!rung());
    assert_eq!(answer(address(&server), &get("hostname=home.example&myip=192.0.2.1")), "200 good 192.0.2.1");
    assert!(rung());
    assert_eq!(endpoint(&server), Some("192.0.2.1".parse().unwrap()));
    assert!(!rung());
    assert_eq!(answer(address(&server), &get("hostname=home.example&myip=192.0.2.1")), "200 nochg 192.0.2.1");
    assert!(!rung());
    let report = server.reports().remove(0);
    assert_eq!(report.requests, [("accepted", 1), ("unchanged", 1)]);
    assert!(server.endpoints.of("tunnel6 home.example").unwrap().told_at.is_some());
    assert_eq!(server.strangers(), []);
}

/// Debian's ddclient, as it is.
#[test]
fn ddclient_updates() {
    let (server, folder) = (plain(), Folder::new("ddclient"));
    let update = |ip: &str, key: &str, host: &str| {
        let text = format!(
            "daemon=0\nssl=no\nuse=ip, ip={ip}\nprotocol=dyndns2\nserver={}\nlogin=ann\npassword='{key}'\n{host}\n",
            address(&server)
        );
        let (file, cache) = (folder.file("ddclient.conf", &text), folder.path("ddclient.cache"));
        let words =
            ["-file", &file, "-cache", &cache, "-pid", &folder.path("pid"), "-verbose", "-daemon", "0"];
        let output = run("ddclient", &words);
        String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
    };
    let told = update("192.0.2.1", KEY, "home.example");
    assert!(told.contains("SUCCESS:  updating home.example: good: IP address set to 192.0.2.1"), "{told}");
    assert_eq!(endpoint(&server), Some("192.0.2.1".parse().unwrap()));
    fs::remove_file(folder.0.join("ddclient.cache")).unwrap();
    let told = update("192.0.2.1", KEY, "home.example");
    assert!(told.contains("updating home.example: nochg: "), "{told}");
    for (key, host, word) in [("wrong", "home.example", "badauth"), (KEY, "elsewhere.example", "nohost")] {
        fs::remove_file(folder.0.join("ddclient.cache")).unwrap();
        let told = update("192.0.2.9", key, host);
        assert!(told.contains(&format!("FAILED:   updating {host}: {word}: ")), "{told}");
    }
    assert_eq!(endpoint(&server), Some("192.0.2.1".parse().unwrap()));
}

/// Debian's inadyn, with and without TLS.
#[test]
fn inadyn_updates() {
    let folder = Folder::new("inadyn");
    let (certificate, key) = folder.certificate("server");
    let tls = Tls::read(certificate.as_ref(), key.as_ref()).unwrap();
    let check = |transport: Transport, name: &str, ssl: bool| {
        let server = broker(transport);
        let update = |ip: &str, key: &str| {
            let text = format!(
                "ca-trust-file = \"{certificate}\"\ncustom broker {{\n  username = ann\n  password = \"{key}\"\n  hostname = home.example\n  \
                ddns-server = \"{name}:{}\"\n  ddns-path = \"/nic/update?hostname=%h&myip=%i\"\n  ssl = {ssl}\n  \
                checkip-command = \"/bin/echo {ip}\"\n}}\n",
                address(&server).port()
            );
            let (file, cache) = (folder.file("inadyn.conf", &text), folder.path("cache"));
            let _ = fs::remove_dir_all(&cache);
            fs::create_dir(&cache).unwrap();
            let words = [
                "-1",
                "-n",
                "-C",
                "-l",
                "debug",
                "-f",
                &file,
                "--cache-dir",
                &cache,
                "-P",
                &folder.path("pid"),
            ];
            let output = run("inadyn", &words);
            String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
        };
        let told = update("192.0.2.1", KEY);
        assert_eq!(endpoint(&server), Some("192.0.2.1".parse().unwrap()), "{told}");
        assert!(told.contains("good 192.0.2.1"), "{told}");
        update("192.0.2.2", "wrong");
        counted(&server, "wrong-credentials", 1);
        assert_eq!(endpoint(&server), Some("192.0.2.1".parse().unwrap()));
    };
    check(Transport::Plain, "127.0.0.1", false);
    check(Transport::Tls(tls), "localhost", true);
}

#[test]
fn curl_updates_by_tls() {
    let folder = Folder::new("curl");
    let (certificate, key) = folder.certificate("server");
    let (other, _) = folder.certificate("other");
    let tls = Tls::read(certificate.as_ref(), key.as_ref()).unwrap();
    let server = broker(Transport::Tls(tls));
    let url = |query: &str| format!("https://{}/nic/update?{query}", address(&server));
    let (user, update) = (format!("ann:{KEY}"), url("hostname=home.example&myip=192.0.2.1"));
    let words = ["-sS", "--cacert", &certificate, "--user", &user];
    for versions in [&[][..], &["--tls-max", "1.2"]] {
        let told = good("curl", &[&words, versions, &[update.as_str()]].concat());
        assert!(told == "good 192.0.2.1\n" || told == "nochg 192.0.2.1\n", "{told}");
    }
    // Credentials that are sent only when asked for.
    let told = good("curl", &[&words[..], &["--anyauth", &update]].concat());
    assert_eq!(told, "nochg 192.0.2.1\n");
    counted(&server, "no-credentials", 1);
    // A client that does not trust us, and one that speaks plain HTTP.
    assert!(!run("curl", &["-sS", "--cacert", &other, &update]).status.success());
    counted(&server, "handshake", 1);
    let mut stream = TcpStream::connect(address(&server)).unwrap();
    stream.write_all(get("hostname=home.example&myip=192.0.2.2").as_bytes()).unwrap();
    counted(&server, "handshake", 2);
    assert_eq!(endpoint(&server), Some("192.0.2.1".parse().unwrap()));
}

#[test]
fn certificate_files_that_are_of_no_use() {
    let folder = Folder::new("files");
    let (certificate, key) = folder.certificate("one");
    let (_, other) = folder.certificate("two");
    let told = |certificate: &str, key: &str| {
        let found = Tls::read(certificate.as_ref(), key.as_ref()).map(drop).unwrap_err();
        let lines: Vec<String> = found.iter().map(ToString::to_string).collect();
        lines.join("\n").replace(&folder.0.display().to_string(), "")
    };
    assert_eq!(
        told(&key, &key),
        "/one.key has no certificate in it: PEM text is wanted, the server's own first"
    );
    fs::set_permissions(&certificate, Permissions::from_mode(0o640)).unwrap();
    assert!(told(&certificate, &certificate).starts_with("/one.pem: "));
    assert!(told(&certificate, &other).starts_with("/one.pem and /two.key: "));
    assert!(told(&folder.path("none"), &key).starts_with("/none: "));
    assert_eq!(told(&folder.path(""), &key), "/ is no regular file");
    assert_eq!(told(&folder.path(""), &folder.path("")), "/ is no regular file\n/ is no regular file");
    fs::set_permissions(&key, Permissions::from_mode(0o644)).unwrap();
    assert_eq!(
        told(&certificate, &key),
        "/one.key is not for its owner alone (mode 0644): `chmod 600 /one.key`"
    );
}

#[test]
fn what_clients_will_not_trust() {
    let folder = Folder::new("doubts");
    let (certificate, key) = folder.certificate("one");
    let tls = Tls::read(certificate.as_ref(), key.as_ref()).unwrap();
    // A minute later, so that no day is a whole one.
    let (minute, day) = (Duration::from_secs(60), Duration::from_secs(86_400));
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap() + minute;
    let check = |name: &str, now: Duration, expected: &[&str]| assert_eq!(tls.doubts(name, now), expected);
    let ends = ["the certificate expires in 1 day"];
    check("localhost", now, &ends);
    check("127.0.0.1", now, &ends);
    let others =
        |name: &str| format!("the certificate is for 127.0.0.1, localhost, and clients ask for {name}");
    check("vps.example", now, &[&others("vps.example"), ends[0]]);
    check("127.0.0.2", now, &[&others("127.0.0.2"), ends[0]]);
    check("localhost", now - 2 * day, &["the certificate is not valid yet, for 1 day more"]);
    check("localhost", now + day, &["the certificate expires in less than a day"]);
    check("localhost", now + 12 * day, &["the certificate has expired, 10 days ago"]);
    let bare = folder.path("bare");
    let words = format!(
        "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 20 -subj /CN=vps.example \
         -keyout {bare}.key -out {bare}.pem"
    );
    good("openssl", &words.split_whitespace().collect::<Vec<_>>());
    let tls = Tls::read(format!("{bare}.pem").as_ref(), format!("{bare}.key").as_ref()).unwrap();
    let expected = "the certificate is for no name (subjectAltName), and clients ask for vps.example";
    assert_eq!(tls.doubts("vps.example", now), [expected]);
}

#[test]
fn requests_that_are_none() {
    let server = plain();
    let check = |request: &str, expected: &str| {
        assert_eq!(answer(address(&server), request), expected, "{:?}", request.get(..60));
    };
    let home = "hostname=home.example&myip=192.0.2.1";
    check(&format!("GET /nic/update?{home} HTTP/1.1\r\nHost: broker\r\n\r\n"), "401 badauth");
    check(&get(home).replace("GET", "POST"), "405 ");
    check(&get(home).replace("/nic/update", "/nic"), "404 911");
    check("nonsense\r\n\r\n", "400 911");
    check(&get(home).replace("Host: broker\r\n", ""), "400 911");
    check(&format!("GET /{}", "a".repeat(20_000)), "431 911");
    check(&format!("GET / HTTP/1.1\r\nHost: {}", "a".repeat(20_000)), "431 911");
    let head = say(address(&server), get(home).replace("GET", "HEAD").as_bytes());
    assert!(
        head.starts_with("HTTP/1.1 405 Method Not Allowed\r\n") && head.ends_with("\r\n\r\n"),
        "{head:?}"
    );
    assert_eq!(endpoint(&server), None);
    // Of HTTP/1.0, and two in one: the first is answered, and then the connection is closed.
    check(
        &format!("GET /nic/update?{home} HTTP/1.0\r\nAuthorization: Basic {BASIC}\r\n\r\n"),
        "200 good 192.0.2.1",
    );
    let two = [get(home), get("hostname=home.example&myip=192.0.2.2")].concat();
    check(&two, "200 nochg 192.0.2.1");
    assert_eq!(endpoint(&server), Some("192.0.2.1".parse().unwrap()));
    // One that goes away.
    let mut stream = TcpStream::connect(address(&server)).unwrap();
    stream.write_all(b"GET /nic/update").unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    counted(&server, "cut-short", 1);
}

/// Bytes that come one by one are a request; those that never end one are not waited for, and keep nobody away.
#[test]
fn slow_clients() {
    let server = plain();
    let mut slow = TcpStream::connect(address(&server)).unwrap();
    for byte in get("hostname=home.example&myip=192.0.2.3").into_bytes() {
        slow.write_all(&[byte]).unwrap();
    }
    let mut text = String::new();
    slow.read_to_string(&mut text).unwrap();
    assert!(text.ends_with("good 192.0.2.3\n"), "{text}");
    drop(slow);
    let begin = Instant::now();
    let mut held: Vec<_> = (0..30).map(|_| TcpStream::connect(address(&server)).unwrap()).collect();
    for stream in &mut held {
        // Those beyond the sixteenth are closed already.
        let _ = stream.write_all(b"GET /nic/update?hostname=home.example HTTP/1.1\r\n");
    }
    counted(&server, "connection-limited", 14);
    counted(&server, "timed-out", 15);
    assert!(begin.elapsed() > Duration::from_secs(9), "{:?}", begin.elapsed());
    assert_eq!(
        answer(address(&server), &get("hostname=office.example&myip=192.0.2.4")),
        "200 good 192.0.2.4"
    );
}

/// From many networks, each with as many connections as it may have.
#[test]
fn slow_clients_from_everywhere_keep_nobody_away() {
    let server = plain();
    let to = address(&server);
    let connected = |from: [u8; 4]| {
        let socket = rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
        rustix::net::bind(&socket, &SocketAddr::new(IpAddr::from(from), 0)).unwrap();
        rustix::net::connect(&socket, &to).unwrap();
        let mut stream = TcpStream::from(socket);
        stream.write_all(b"GET /nic/update?hostname=home.example HTTP/1.1\r\n").unwrap();
        stream
    };
    let held: Vec<_> = (2..20).flat_map(|last| [last; 16]).map(|last| connected([127, 0, 0, last])).collect();
    counted(&server, "connection-limited", 288 - 256);
    assert_eq!(answer(to, &get("hostname=home.example&myip=192.0.2.5")), "200 good 192.0.2.5");
    drop(held);
}

#[test]
fn a_flood_is_answered_by_abuse_and_changes_nothing() {
    let server = plain();
    assert_eq!(answer(address(&server), &get("hostname=home.example&myip=192.0.2.1")), "200 good 192.0.2.1");
    let guess = get("hostname=home.example&myip=192.0.2.66").replace(BASIC, "YW5uOnh4");
    let answers: Vec<String> = (0..60).map(|_| answer(address(&server), &guess)).collect();
    assert!(answers.iter().all(|told| told == "200 badauth" || told == "200 abuse"), "{answers:?}");
    assert!(answers.iter().filter(|told| *told == "200 abuse").count() > 20, "{answers:?}");
    assert_eq!(endpoint(&server), Some("192.0.2.1".parse().unwrap()));
    let mut stream = TcpStream::connect(address(&server)).unwrap();
    stream.set_read_timeout(Some(LONG)).unwrap();
    stream.write_all(get("hostname=office.example").as_bytes()).unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    assert!(text.ends_with("abuse\n"), "{text}");
}
