use std::io::{self, Write};

use clap::CommandFactory as _;
use clap_mangen::Man;

use crate::cli::{Cli, EXIT_CODES, Exit};
use crate::complaint::Complaint;

use super::Ended;
use super::choices::{BROKER, CHOICES, LENDER, RELAY};
use super::translate::Unread;

/// Prints the manual page: from the definition of the command line, the reasons of drops, and what a
/// translator lets one choose.
pub(crate) fn man() -> Ended {
    page(&mut io::stdout()).map(|()| Exit::Done).map_err(|error| Complaint::Other {
        message: format!("the manual page can't be printed: {error}"),
        help: "is there room on the disk, and does the reader of the pipe still read?".into(),
    })
}

fn page(out: &mut dyn Write) -> io::Result<()> {
    let mut command = Cli::command();
    command.build();
    let man = Man::new(command.clone());
    man.render_title(out)?;
    man.render_name_section(out)?;
    man.render_synopsis_section(out)?;
    man.render_description_section(out)?;
    man.render_options_section(out)?;
    for verb in command.get_subcommands() {
        writeln!(out, ".SH \"STRADDLE {}\"", verb.get_name().to_uppercase())?;
        let about = verb.get_long_about().or(verb.get_about());
        writeln!(out, "{}", about.map(ToString::to_string).unwrap_or_default())?;
        options(verb, out)?;
        for inner in verb.get_subcommands() {
            writeln!(out, ".SS \"straddle {} {}\"", verb.get_name(), inner.get_name())?;
            writeln!(out, "{}", inner.get_about().map(ToString::to_string).unwrap_or_default())?;
            options(inner, out)?;
        }
    }
    reasons(out)?;
    writeln!(out, ".SH \"WHAT A TRANSLATOR CHOOSES\"\nWhere the RFCs leave a choice, or another was made.")?;
    for (what, words) in CHOICES {
        writeln!(out, ".TP\n\\fB{what}\\fR\n{words}")?;
    }
    writeln!(out, ".SH \"WHAT A LENDER CHOOSES\"\nA key of \\fB[[borrow]]\\fR, and what it decides.")?;
    for (what, words) in LENDER {
        writeln!(out, ".TP\n\\fB{what}\\fR\n{words}")?;
    }
    writeln!(out, ".SH \"WHAT A RELAY CHOOSES\"\nThe keys of \\fB[[relay]]\\fR, and what they decide.")?;
    for (what, words) in RELAY {
        writeln!(out, ".TP\n\\fB{what}\\fR\n{words}")?;
    }
    writeln!(
        out,
        ".SH \"WHAT A SERVER OF TUNNELS IS TOLD\"\nKeys for \\fB[[tunnel6]]\\fR, and what they decide."
    )?;
    for (what, words) in BROKER {
        writeln!(out, ".TP\n\\fB{what}\\fR\n{words}")?;
    }
    writeln!(
        out,
        ".SH FILES\n.TP\n\\fB/etc/straddle/straddle.toml\\fR\nDescribes every host that takes part."
    )?;
    writeln!(out, ".TP\n\\fB/var/lib/straddle/journal\\fR\nWhat was displaced, and how it was before.")?;
    writeln!(out, ".TP\n\\fB/var/lib/straddle/endpoints\\fR\nEndpoints that other hosts have told.")?;
    let codes = EXIT_CODES.trim_start_matches("Exit codes:\n");
    writeln!(out, ".SH \"EXIT CODES\"\n.nf\n{codes}\n.fi")
}

fn reasons(out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, ".SH \"WHY PACKETS ARE DROPPED\"\nThe names that \\fBstraddle status\\fR counts under.")?;
    writeln!(out, ".SS \"By a carrier\"")?;
    for reason in straddle_encap::Reason::ALL {
        writeln!(out, ".TP\n\\fB{}\\fR\n{}", reason.name(), reason.describe())?;
    }
    writeln!(
        out,
        ".SS \"By a translator\"\n\\fBstraddle translate\\fR names them too. Some are answered, or passed."
    )?;
    for reason in straddle_xlat::Reason::ALL {
        writeln!(out, ".TP\n\\fB{}\\fR\n{}", reason.name(), reason.describe())?;
    }
    for reason in straddle_serve::translator::Loss::ALL {
        writeln!(out, ".TP\n\\fB{}\\fR\n{}", reason.name(), reason.describe())?;
    }
    writeln!(out, ".SS \"By a translator's fast path\"\nThese are not dropped, but left to the slow path.")?;
    for (name, sentence) in straddle_kernel::fast::SLOW {
        writeln!(out, ".TP\n\\fB{name}\\fR\n{sentence}")?;
    }
    writeln!(
        out,
        ".SS \"By what goes past a device\"\nThese are not dropped, but go through the device of the translator or of the \
         lender's carrier; so do those that its fast path leaves alone."
    )?;
    for (name, sentence) in straddle_kernel::fast::SLOW_DIRECT {
        writeln!(out, ".TP\n\\fB{name}\\fR\n{sentence}")?;
    }
    writeln!(
        out,
        ".SS \"By what goes past a lender's device\"\nThese are not dropped either, but go through it too."
    )?;
    for (name, sentence) in straddle_kernel::fast::SLOW_LENDER {
        writeln!(out, ".TP\n\\fB{name}\\fR\n{sentence}")?;
    }
    writeln!(out, ".SS \"By a carrier's fast path\"\nThese are not dropped, but left to the slow path.")?;
    for (name, sentence) in straddle_kernel::fast::SLOW_CARRIER {
        writeln!(out, ".TP\n\\fB{name}\\fR\n{sentence}")?;
    }
    writeln!(out, ".SS \"By a relay\"\nHow connections, and the sessions of UDP clients, end.")?;
    for reason in straddle_serve::relay::Reason::ALL {
        writeln!(out, ".TP\n\\fB{}\\fR\n{}", reason.name(), reason.describe())?;
    }
    writeln!(out, ".SS \"What became of messages that tell an endpoint\"")?;
    for reason in straddle_serve::update::Reason::ALL {
        writeln!(out, ".TP\n\\fB{}\\fR\n{}", reason.name(), reason.describe())?;
    }
    writeln!(out, ".SS \"What became of updates by HTTP\"")?;
    for reason in straddle_serve::http::Reason::ALL {
        writeln!(out, ".TP\n\\fB{}\\fR\n{}", reason.name(), reason.describe())?;
    }
    writeln!(out, ".SS \"What became of neighbours' solicitations\"")?;
    for reason in straddle_serve::neighbour::Reason::ALL {
        writeln!(out, ".TP\n\\fB{}\\fR\n{}", reason.name(), reason.describe())?;
    }
    writeln!(out, ".SS \"By the capture that straddle translate reads\"")?;
    for reason in Unread::ALL {
        writeln!(out, ".TP\n\\fB{}\\fR\n{}", reason.name(), reason.describe())?;
    }
    Ok(())
}

fn options(verb: &clap::Command, out: &mut dyn Write) -> io::Result<()> {
    let own =
        verb.get_arguments().filter(|argument| !argument.is_global_set() && argument.get_id() != "help");
    for argument in own {
        let name = match argument.get_long() {
            Some(long) => format!("\\-\\-{long}"),
            None => argument.get_id().to_string().to_uppercase(),
        };
        let choices: Vec<String> =
            argument.get_possible_values().iter().map(|value| value.get_name().to_string()).collect();
        let takes = argument.get_action().takes_values() && !choices.is_empty();
        let choices = if takes { format!(" {}", choices.join(" | ")) } else { String::new() };
        let help = argument.get_help().map(ToString::to_string).unwrap_or_default();
        writeln!(out, ".TP\n\\fB{name}\\fR{choices}\n{help}")?;
    }
    Ok(())
}
