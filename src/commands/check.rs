use std::path::Path;

use straddle_kernel::Live;

use crate::cli::{Exit, Place};
use crate::say;
use crate::site::{asked, is_elsewhere, locate, read};

use super::Ended;

/// Prints every mistake of the file. On a host of the file, also what it says of this one.
pub(crate) fn check(place: &Place, file: Option<&Path>) -> Ended {
    let mut place = place.clone();
    if let Some(file) = file {
        place.config = file.to_path_buf();
    }
    let file = read(&place.config)?;
    let live = Live::open()?.addresses()?;
    let whose = match locate(&file, &place, &live, &asked(&file.model)) {
        Ok(host) => format!("this host is `{host}`"),
        Err(complaint) if is_elsewhere(&complaint) => {
            "this host is none of them, or the addresses don't tell".into()
        }
        Err(complaint) => return Err(complaint),
    };
    let hosts = count(file.model.hosts.len(), "host");
    let bridges = count(file.model.bridges().count(), "bridge");
    say::line(&format!("{}: {hosts}, {bridges}, no mistakes; {whose}", place.config.display()));
    Ok(Exit::Done)
}

fn count(number: usize, what: &str) -> String {
    if number == 1 { format!("1 {what}") } else { format!("{number} {what}s") }
}
