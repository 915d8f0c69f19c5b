use std::fs;
use std::path::Path;
use std::time::Duration;

use crate::host::Host;
use crate::process::Process;
use crate::{LabError, wait};

/// A running nginx that tells whoever asks what it takes for the client's address: `plain` as it sees it, `told` as a
/// PROXY header at [`Web::TOLD`] says.
#[derive(Debug)]
pub struct Web(Process);

impl Web {
    /// The port at which a PROXY header goes before each connection.
    pub const TOLD: u16 = 8080;

    /// Starts it, with a file of 1 MB besides.
    ///
    /// # Errors
    /// When nginx does not begin to listen.
    pub fn start(host: &Host, directory: &Path) -> Result<Web, LabError> {
        let root = directory.join(format!("web-{}", host.name()));
        let doing = || LabError::io(format!("writing below {}", root.display()));
        fs::create_dir_all(root.join("site")).map_err(doing())?;
        fs::write(root.join("site/file"), vec![b'x'; 1_000_000]).map_err(doing())?;
        fs::write(root.join("nginx.conf"), CONFIGURATION).map_err(doing())?;
        let mut command = host.command("nginx");
        command.arg("-p").arg(&root).arg("-c").arg("nginx.conf").args(["-e", "error.log"]);
        let nginx = Process::start(command, &root.join("nginx.out"))?;
        wait::until("nginx to listen", START, || {
            let listening = host.run(&["ss", "-Htln", "sport = :8080"]).ok()?;
            (!listening.stdout.trim().is_empty()).then_some(())
        })?;
        Ok(Web(nginx))
    }

    /// Ends it.
    ///
    /// # Errors
    /// When it does not end.
    pub fn stop(self) -> Result<(), LabError> {
        self.0.stop(START).map(drop)
    }
}

/// What a real curl gets, with the seconds that it took; nothing where it got nothing.
///
/// # Errors
/// When curl cannot be started.
pub fn fetch(client: &Host, url: &str) -> Result<Option<(String, f64)>, LabError> {
    let output = client.try_run(&["curl", "-gsS", "-m", "10", "-w", "\n%{time_total}", url])?;
    if !output.status.success() {
        return Ok(None);
    }
    let parts = output.stdout.rsplit_once('\n');
    Ok(parts.and_then(|(body, seconds)| Some((body.to_owned(), seconds.trim().parse().ok()?))))
}

const START: Duration = Duration::from_secs(5);

/// One process, root, everything below the directory that `-p` names.
const CONFIGURATION: &str = "
daemon off;
master_process off;
pid nginx.pid;
events { worker_connections 4096; }
http {
    access_log off;
    client_body_temp_path body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
    server {
        listen 80; listen [::]:80;
        root site;
        location = /who { return 200 $remote_addr; }
    }
    server {
        listen [::]:8080 proxy_protocol;
        root site;
        location = /who {
            return 200 \"$proxy_protocol_addr $proxy_protocol_port $proxy_protocol_server_addr\";
        }
    }
}
";
