//! `straddle`: puts a Linux host on both internets.

mod cli;
mod commands;
mod complaint;
mod keep;
mod render;
mod say;
mod site;

use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    let cli = cli::Cli::parse();
    match commands::run(&cli) {
        Ok(exit) => exit.into(),
        Err(complaint) => {
            say::aside(&render::complaint(&complaint));
            complaint.exit().into()
        }
    }
}
