use std::fs::OpenOptions;
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use straddle_intent::invite::{Format, Handout, Invitation, Piece};
use straddle_intent::model::Model;

use crate::cli::{Exit, Invite, Place};
use crate::complaint::Complaint;
use crate::render;
use crate::say;
use crate::site::read;

use super::Ended;

/// Prints or writes what a client of a tunnel6 needs. The file alone tells, so any host will do.
pub(crate) fn invite(place: &Place, asked: &Invite) -> Ended {
    let model = read(&place.config)?.model;
    let format = asked.form;
    let handout = handout(&model, &place.config, &asked.name, format)?;
    if let Some(directory) = &asked.into {
        written(directory, &handout)?;
    } else if asked.json {
        say::result(&(render::invite_json(&asked.name, format, &handout) + "\n"))?;
    } else {
        say::result(&handout.text())?;
    }
    Ok(Exit::Done)
}

fn handout(model: &Model, file: &Path, name: &str, format: Format) -> Result<Handout, Complaint> {
    let invitation = Invitation::to(model, name).ok_or_else(|| unknown(model, file, name))?;
    if !invitation.tells(format) {
        let message = format!(
            "the IPv4 address of {name}'s client changes, and {} can't tell the server",
            format.name()
        );
        let help = if format == Format::Straddle {
            "add a `key-file` to the tunnel6, or say by `--as` what the client has"
        } else {
            "leave `--as` out for a client with Straddle, or add an `update-key-file` to the tunnel6"
        };
        return Err(Complaint::Mistake { message, help: help.into() });
    }
    Ok(invitation.handout(format))
}

fn unknown(model: &Model, file: &Path, name: &str) -> Complaint {
    let file = file.display();
    let tunnels: Vec<&str> = model.tunnels6.iter().map(|tunnel| tunnel.name.as_str()).collect();
    if model.bridges().any(|bridge| bridge == name) && !tunnels.contains(&name) {
        let message = format!("{name} is no tunnel6: there is no other end to hand out");
        let help = "both of its hosts read the same file: copy that";
        return Complaint::Mistake { message, help: help.into() };
    }
    let several = model.tunnels6.iter().filter(|tunnel| tunnel.client.host == name).count() > 1;
    let why = if several { "has several tunnels" } else { "is no tunnel6 and no client of one" };
    let help = match tunnels.as_slice() {
        [] => "describe the client's tunnel as [[tunnel6]]".into(),
        names => format!("write one of its names: {}", names.join(", ")),
    };
    Complaint::Mistake { message: format!("{name} {why} in {file}"), help }
}

/// Writes each file under its own name. Nothing that is there is written over, and all are asked after first.
fn written(directory: &Path, handout: &Handout) -> Result<(), Complaint> {
    let targets: Vec<(PathBuf, &Piece)> =
        handout.pieces.iter().map(|piece| (target(directory, piece), piece)).collect();
    if let Some((path, _)) = targets.iter().find(|(path, _)| path.symlink_metadata().is_ok()) {
        let help = "take it away first, or name another folder: nothing is written over";
        return Err(unwritten(path, "is there already", help));
    }
    for (path, piece) in &targets {
        write(path, piece).map_err(|error| unwritten(path, &error.to_string(), help_for(error.kind())))?;
        let goes = Path::new(&piece.path).parent().filter(|parent| parent.is_absolute());
        let goes = goes.map(|parent| format!(": goes to {}", parent.display())).unwrap_or_default();
        say::line(&format!("wrote {}{goes}", path.display()));
    }
    say::line(&format!("then, on the client: {}", handout.then.replace('\n', "; ")));
    Ok(())
}

fn target(directory: &Path, piece: &Piece) -> PathBuf {
    directory.join(Path::new(&piece.path).file_name().unwrap_or_default())
}

fn write(path: &Path, piece: &Piece) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(piece.mode).open(path)?;
    file.write_all(piece.text.as_bytes())?;
    file.sync_all()
}

fn help_for(why: ErrorKind) -> &'static str {
    let helps = [
        (ErrorKind::NotFound, "make that folder first, or name one that exists"),
        (ErrorKind::NotADirectory, "name a folder"),
        (ErrorKind::PermissionDenied, "name a folder that you may write to, or do it as root"),
        (ErrorKind::ReadOnlyFilesystem, "name a folder that can be written"),
        (ErrorKind::StorageFull, "make room on that disk, then try again"),
        (ErrorKind::QuotaExceeded, "make room on that disk, then try again"),
    ];
    let help = helps.into_iter().find(|(kind, _)| *kind == why);
    help.map_or("name another folder; without `--into` the text goes to the standard output", |(_, help)| {
        help
    })
}

fn unwritten(path: &Path, why: &str, help: &str) -> Complaint {
    Complaint::Other { message: format!("{}: {why}", path.display()), help: help.into() }
}
