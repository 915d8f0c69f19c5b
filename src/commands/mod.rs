//! One file for each verb.

mod addr;
mod check;
mod choices;
mod doctor;
mod down;
mod invite;
mod key;
mod lab;
mod man;
mod plan;
mod run;
mod status;
mod translate;
mod up;

pub(crate) use addr::{Answer, Crossing};
pub(crate) use status::{Deaf, Status};
pub(crate) use translate::{End, Sent, Told, Totals, Why};
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
        Command::Invite(asked) => invite::invite(place, asked),
        Command::Doctor { json } => doctor::doctor(*json),
        Command::Key { file } => key::key(file.as_deref()),
        Command::Lab(options) => lab::lab(options),
        Command::Addr(question) => addr::addr(place, question),
        Command::Translate(question) => translate::translate(place, question),
        Command::Man => man::man(),
        Command::Completions { shell } => {
            clap_complete::generate(*shell, &mut Cli::command(), "straddle", &mut std::io::stdout());
            Ok(Exit::Done)
        }
    }
}
