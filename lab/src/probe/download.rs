use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Serialize;

use crate::host::Host;
use crate::process::Process;
use crate::{LabError, wait};

/// A file fetched by curl from nginx.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Download {
    /// Bytes that arrived.
    pub bytes: u64,
    /// Whether they are the bytes that were served.
    pub intact: bool,
    /// How long curl took, in seconds.
    pub seconds: f64,
}

/// Serves a file of 1 MB with a real nginx on `server` and fetches it from `target` with a real
/// curl on `client`.
///
/// # Errors
/// When nginx does not start. A download that fails is a [`Download`] that is not intact.
pub fn download(
    client: &Host,
    server: &Host,
    target: IpAddr,
    directory: &Path,
) -> Result<Download, LabError> {
    let serving = Serving::start(server, directory)?;
    let fetched = serving.fetch(client, &[], &authority(target))?;
    serving.stop()?;
    Ok(fetched)
}

/// The same, slowly: `work` is done while the file is on its way. How many bytes had arrived when it was done,
/// and what has come of the download.
///
/// # Errors
/// As [`download`], when nothing arrives at first, and what keeps `work` from being done.
pub fn download_during(
    client: &Host,
    server: &Host,
    target: IpAddr,
    directory: &Path,
    work: impl FnOnce() -> Result<(), LabError>,
) -> Result<(u64, Download), LabError> {
    let serving = Serving::start(server, directory)?;
    let copy = serving.site.root.join("copy");
    let mut command = client.command("curl");
    command.args(["-sS", "-N", "-m", "60", "-o"]).arg(&copy);
    command.arg(format!("http://{}/slow", authority(target)));
    let curl = Process::start(command, &serving.site.root.join("curl.log"))?;
    let length = || fs::metadata(&copy).map(|copy| copy.len()).unwrap_or_default();
    let begun = std::time::Instant::now();
    wait::until("the download to begin", START, || (length() > 0).then_some(()))?;
    work()?;
    let meanwhile = length();
    let ended = curl.ends(Duration::from_secs(60)).is_ok();
    let intact = ended && fs::read(&copy).is_ok_and(|copy| copy == serving.site.file);
    let download = Download { bytes: length(), intact, seconds: begun.elapsed().as_secs_f64() };
    serving.stop()?;
    Ok((meanwhile, download))
}

/// An address as it stands in a URL (RFC 3986 §3.2.2).
pub(crate) fn authority(address: IpAddr) -> String {
    match address {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => format!("[{address}]"),
    }
}

/// A running nginx that serves a file of 1 MB and a small one over both families, at ports 80 and 443. None
/// of it is encrypted.
#[derive(Debug)]
pub(crate) struct Serving {
    nginx: Process,
    site: Site,
}

impl Serving {
    pub(crate) fn start(server: &Host, directory: &Path) -> Result<Serving, LabError> {
        let site = Site::lay_out(&directory.join(format!("nginx-{}", server.name())))?;
        let mut command = server.command("nginx");
        command.arg("-p").arg(&site.root).arg("-c").arg("nginx.conf").args(["-e", "error.log"]);
        let nginx = Process::start(command, &site.root.join("nginx.out"))?;
        wait::until("nginx to listen", START, || {
            let listening = server.run(&["ss", "-Htln", "sport = :80"]).ok()?;
            (!listening.stdout.trim().is_empty()).then_some(())
        })?;
        Ok(Serving { nginx, site })
    }

    /// Fetches the file with a real curl, with these options, from a host that may be a name.
    pub(crate) fn fetch(
        &self,
        client: &Host,
        options: &[&str],
        authority: &str,
    ) -> Result<Download, LabError> {
        self.get(client, options, &format!("http://{authority}/file"))
    }

    /// The same at 150 kB a second. It is the server that takes its time: a curl that is told to reads what has come
    /// already.
    pub(crate) fn fetch_slowly(&self, client: &Host, authority: &str) -> Result<Download, LabError> {
        self.get(client, &["-m", "40"], &format!("http://{authority}/slow"))
    }

    fn get(&self, client: &Host, options: &[&str], url: &str) -> Result<Download, LabError> {
        let site = &self.site;
        let copy = site.root.join("copy");
        // The copy of an earlier download must not pass for this one's.
        let _ = fs::remove_file(&copy);
        let copied = copy.to_string_lossy();
        let mut words = vec!["curl", "-sS", "-m", "10", "-o", &copied, "-w", "%{time_total}"];
        words.extend(options);
        words.push(url);
        let output = client.try_run(&words)?;
        let arrived = fs::read(&copy).unwrap_or_default();
        Ok(Download {
            bytes: arrived.len().try_into().unwrap_or(u64::MAX),
            intact: output.status.success() && arrived == site.file,
            seconds: output.stdout.trim().parse().unwrap_or_default(),
        })
    }

    /// The addresses that it was asked from so far, each as often as it asked.
    pub(crate) fn clients(&self) -> Vec<String> {
        let log = fs::read_to_string(self.site.root.join("access.log")).unwrap_or_default();
        log.lines().map(str::to_owned).collect()
    }

    /// Lets it outlive its owner: for a world that is kept.
    pub(crate) fn leave(self) {
        self.nginx.leave();
    }

    pub(crate) fn stop(self) -> Result<(), LabError> {
        self.nginx.stop(START).map(drop)
    }
}
/// What nginx serves, and where.
#[derive(Debug)]
struct Site {
    root: PathBuf,
    file: Vec<u8>,
}

impl Site {
    fn lay_out(root: &Path) -> Result<Site, LabError> {
        let doing = || LabError::io(format!("writing below {}", root.display()));
        let file: Vec<u8> = pseudo_random().take(MEGABYTE).collect();
        fs::create_dir_all(root.join("site")).map_err(doing())?;
        fs::write(root.join("site/file"), &file).map_err(doing())?;
        fs::write(root.join("site/small"), "hello\n").map_err(doing())?;
        fs::write(root.join("nginx.conf"), CONFIGURATION).map_err(doing())?;
        // The log of an earlier nginx must not pass for this one's.
        fs::write(root.join("access.log"), "").map_err(doing())?;
        Ok(Site { root: root.to_path_buf(), file })
    }
}

/// Bytes without a period shorter than a packet (a linear congruential generator's upper bits).
fn pseudo_random() -> impl Iterator<Item = u8> {
    let next = |state: &u32| Some(state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223));
    std::iter::successors(Some(1), next).map(|state| state.to_be_bytes()[0])
}

const MEGABYTE: usize = 1_000_000;
const START: Duration = Duration::from_secs(5);
/// One process, root, everything below the directory that `-p` names.
const CONFIGURATION: &str = "
daemon off;
master_process off;
pid nginx.pid;
events { }
http {
    log_format clients $remote_addr;
    access_log access.log clients;
    client_body_temp_path body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
    server {
        listen 80; listen 443; listen [::]:80; listen [::]:443;
        root site;
        location = /slow { alias site/file; limit_rate 150k; }
    }
}
";
