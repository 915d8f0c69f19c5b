//! The one definition of the command line: parser, help, manual and completions are made from it.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// Puts a Linux host on both internets: one file, one plan, both ends.
#[derive(Parser)]
#[command(name = "straddle", version, after_help = EXIT_CODES, disable_help_subcommand = true, max_term_width = 80)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) place: Place,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Where things are.
#[derive(Args, Clone)]
pub(crate) struct Place {
    /// The file that describes every host
    #[arg(long, global = true, value_name = "FILE", default_value = "/etc/straddle/straddle.toml")]
    pub(crate) config: PathBuf,
    /// The host of the file that this one is; found by its addresses when left out
    #[arg(long, global = true, value_name = "NAME")]
    pub(crate) host: Option<String>,
    /// Where what was displaced is remembered
    #[arg(long, global = true, value_name = "DIR", default_value = "/var/lib/straddle")]
    pub(crate) state_dir: PathBuf,
    /// Where a running straddle has its socket and locks
    #[arg(long, global = true, value_name = "DIR", default_value = "/run/straddle")]
    pub(crate) runtime_dir: PathBuf,
}

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Reads the file and prints every mistake in it; changes nothing
    Check {
        /// The file, in the place of --config
        file: Option<PathBuf>,
    },
    /// Prints the steps that `up` would take on this host, each with its undo; changes nothing
    Plan {
        /// The same as data
        #[arg(long)]
        json: bool,
    },
    /// Takes the steps and verifies them; puts the host back as it was if one fails
    Up {
        #[command(flatten)]
        force: Force,
    },
    /// `up`, then serves the carriers and keeps the host in step until told to end (SIGTERM, Ctrl-C)
    Run {
        #[command(flatten)]
        force: Force,
    },
    /// Removes what is ours and brings back what it displaced; ends a `run` of this host first
    Down,
    /// Tells for each bridge whether it is in step, and its counters
    Status {
        /// The same as data
        #[arg(long)]
        json: bool,
    },
    /// Builds the whole world of a recipe on this machine, in network namespaces, and tries it
    Lab(Lab),
    /// Prints the manual page (roff)
    Man,
    /// Prints the completions for a shell
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
}

#[derive(Args, Clone, Copy)]
pub(crate) struct Force {
    /// Go on although sessions arrive at the address that is about to move
    #[arg(long)]
    pub(crate) force: bool,
}

#[derive(Args, Clone)]
pub(crate) struct Lab {
    /// The recipe to be tried
    #[arg(value_enum)]
    pub(crate) recipe: Recipe,
    /// Another way of doing it
    #[arg(long, value_enum)]
    pub(crate) variant: Option<Variant>,
    /// How packets cross
    #[arg(long, value_enum, default_value = "ip6gre")]
    pub(crate) carrier: CarrierWord,
    /// Leave the world standing, and tell how to enter it
    #[arg(long)]
    pub(crate) keep: bool,
    /// The report as data
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(ValueEnum, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Recipe {
    /// An IPv4 address moves from a dual-stack host to an IPv6-only one
    Borrow,
}

#[derive(ValueEnum, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Variant {
    /// The attempt that does not work: bridging the carrier with the uplink
    Bridge,
}

#[derive(ValueEnum, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CarrierWord {
    /// GRE in IPv6
    Ip6gre,
    /// IPv4 in IPv6
    Ip4ip6,
}

/// How straddle ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Done.
    Done = 0,
    /// Something failed; the host is as it was.
    Failed = 1,
    /// A mistake in the command line or the file; nothing was touched.
    Mistake = 2,
    /// A bridge is not in step, or a check of the lab failed.
    OutOfStep = 3,
    /// Something is in the way; nothing was touched.
    Refused = 4,
    /// Something failed, and the host is not as it was.
    Left = 5,
}

impl From<Exit> for std::process::ExitCode {
    fn from(exit: Exit) -> Self {
        std::process::ExitCode::from(exit as u8)
    }
}

/// The meaning of each [`Exit`], for help and manual.
pub(crate) const EXIT_CODES: &str = "\
Exit codes:
  0  done
  1  something failed; the host is as it was before
  2  a mistake in the command line or in the file; nothing was touched
  3  status: a bridge is not in step; lab: a check failed
  4  something is in the way (an object of somebody else, your own session);
     nothing was touched
  5  something failed, and the host is not as it was: what is left is listed";
