mod secrets;

use std::path::Path;

use straddle_intent::site;
use straddle_kernel::Live;

use crate::cli::{Exit, Place};
use crate::complaint::Complaint;
use crate::render;
use crate::say;
use crate::site::{File, asked, is_elsewhere, named, read};

use super::Ended;

/// Prints every mistake of the file. On a host of the file, also what it says of this one, keys and certificates
/// included.
pub(crate) fn check(place: &Place, file: Option<&Path>) -> Ended {
    let mut place = place.clone();
    if let Some(file) = file {
        place.config = file.to_path_buf();
    }
    let file = read(&place.config)?;
    let (whose, doubts) = here(&file, &place)?;
    let hosts = count(file.model.hosts.len(), "host");
    let bridges = count(file.model.bridges().count(), "bridge");
    for doubt in doubts {
        say::aside(&(render::warning(&doubt) + "\n"));
    }
    say::line(&format!("{}: {hosts}, {bridges}, no mistakes; {whose}", place.config.display()));
    Ok(Exit::Done)
}

/// Which host of the file this one is, and what is no mistake, but may be worth a look.
fn here(file: &File, place: &Place) -> Result<(String, Vec<String>), Complaint> {
    let live = Live::open()?.addresses()?;
    let host = match named(file, place, &live) {
        Ok(host) => host,
        Err(complaint) if is_elsewhere(&complaint) => {
            let whose = "this host is none of them, or the addresses don't tell";
            let unseen = if file.model.is_keyless() {
                ""
            } else {
                ", so that keys and certificates were not looked at"
            };
            return Ok((format!("{whose}{unseen}"), Vec::new()));
        }
        Err(complaint) => return Err(complaint),
    };
    let mut found = site::check(&file.model, host, &live, &asked(&file.model));
    let secrets = secrets::look(&file.model.secrets(&host.name));
    found.extend(secrets.mistakes);
    if found.is_empty() {
        Ok((format!("this host is `{}`", host.name), secrets.doubts))
    } else {
        Err(file.wrong(place, found))
    }
}

fn count(number: usize, what: &str) -> String {
    if number == 1 { format!("1 {what}") } else { format!("{number} {what}s") }
}
