use std::path::Path;

use straddle_kernel::{Kernel as _, Live};

use crate::cli::{Exit, Place};
use crate::site::{is_elsewhere, locate, read};

use super::Ended;

/// Prints every mistake of the file. On a host of the file, also what it says of this one.
pub(crate) fn check(place: &Place, file: Option<&Path>) -> Ended {
    let mut place = place.clone();
    if let Some(file) = file {
        place.config = file.to_path_buf();
    }
    let file = read(&place.config)?;
    let live = Live::open()?.observe(&[])?;
    let whose = match locate(&file, &place, &live) {
        Ok(host) => format!("this host is `{host}`"),
        Err(complaint) if is_elsewhere(&complaint) => {
            "this host is none of them, or the addresses don't tell".into()
        }
        Err(complaint) => return Err(complaint),
    };
    let (hosts, bridges) = (file.model.hosts.len(), file.model.borrows.len());
    anstream::println!("{}: {hosts} hosts, {bridges} bridges, no mistakes; {whose}", place.config.display());
    Ok(Exit::Done)
}
