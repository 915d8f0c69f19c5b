//! One file for each verb.

mod check;
mod down;
mod lab;
mod plan;
mod run;
mod status;
mod up;

pub(crate) use status::Status;
pub(crate) use up::raise;

use clap::CommandFactory as _;

use crate::cli::{Cli, Command, Exit};
use crate::complaint::Complaint;

/// How a command ends.
pub(crate) type Ended = Result<Exit, Complaint>;

/// Does what the command line says.
pub(crate) fn run(cli: &Cli) -> Ended {
    let place = &cli.place;
    match &cli.command {
        Command::Check { file } => check::check(place, file.as_deref()),
        Command::Plan { json } => plan::plan(place, *json),
        Command::Up { force } => up::up(place, force.force),
        Command::Run { force } => run::run(place, force.force),
        Command::Down => down::down(place),
        Command::Status { json } => status::status(place, *json),
        Command::Lab(options) => lab::lab(options),
        Command::Man => man(),
        Command::Completions { shell } => {
            clap_complete::generate(*shell, &mut Cli::command(), "straddle", &mut std::io::stdout());
            Ok(Exit::Done)
        }
    }
}

fn man() -> Ended {
    let page = clap_mangen::Man::new(Cli::command());
    let printed = page.render(&mut std::io::stdout());
    printed.map(|()| Exit::Done).map_err(|error| Complaint::Other {
        message: format!("the manual page can't be printed: {error}"),
        help: "is there room on the disk, and does the reader of the pipe still read?".into(),
    })
}
