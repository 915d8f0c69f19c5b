//! The one definition of the command line: parser, help, manual and completions are made from it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;

use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use clap::{Args, Parser, Subcommand, ValueEnum};
use straddle_intent::config::translation_prefix;
use straddle_intent::invite::Format;
use straddle_xlat::rfc6052::Prefix;

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
    /// `up`, then serves carriers, translators and relays, and keeps the host in step until told to end (SIGTERM, Ctrl-C)
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
    /// Prints all that the client of a tunnel6 needs, and nothing of any other client; changes nothing
    ///
    /// With Straddle, or with what the client's system has. Run it on the server, or wherever the file is. The
    /// text goes to the standard output, to be copied: several files as one shell script that writes them.
    /// It holds no key.
    ///
    /// Example, for a client that has systemd-networkd: straddle invite box --as networkd | ssh root@box sh
    Invite(Invite),
    /// Looks for known traps on this host, whoever set it up, and names the cure; changes nothing
    ///
    /// Needs no file: what it finds may have been typed by hand, or be the work of another program. Each trap has
    /// what it does to packets, what was seen that tells so, and commands that mend it until the next boot. No
    /// command is run.
    Doctor {
        /// The same as data
        #[arg(long)]
        json: bool,
    },
    /// Makes a key for two hosts of which one tells the other where it is; prints it, or writes FILE
    Key {
        /// A new file, readable by its owner alone; copy it to the other host
        file: Option<PathBuf>,
    },
    /// Builds the whole world of a recipe on this machine, in network namespaces, and tries it
    #[command(subcommand)]
    Lab(Lab),
    /// The arithmetic between IPv4 addresses and the IPv6 addresses that stand for them
    #[command(subcommand_negates_reqs = true, args_conflicts_with_subcommands = true)]
    Addr(Addr),
    /// What would happen to the packets of a capture: translates them as a bridge would; changes nothing
    ///
    /// Neither root nor the host of the file is needed. The capture's times are the clock (of the rate
    /// limit of ICMP errors). A line for each packet tells its number, seconds since the first packet, its verdict,
    /// what it was, why it was not translated, and what came out on which side. Verdicts: forward, it is
    /// translated; reply, its sender gets an answer from the translator itself; pass, it is none of the
    /// translator's; drop, nothing comes out.
    ///
    /// With --json: {"packet": 1, "time": 1700000000.123456, "verdict": "forward" | "reply" | "pass" | "drop",
    /// "reason": null | "NAME", "out": [{"side": "ipv4" | "ipv6", "kind": "forward" | "reply", "bytes": "HEX"}]}.
    /// "time" has as many decimal places as the capture, and is null where that tells none (a simple packet
    /// block of pcapng). The names of reasons are in the manual.
    ///
    /// OUT.pcap gets its name when all of the capture was read: where that fails (exit code 1), there is none.
    Translate(Translate),
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
    /// Go on although sessions arrive at the address that is about to move, or somebody else has one that this
    /// host is to answer for
    #[arg(long)]
    pub(crate) force: bool,
}

#[derive(Subcommand, Clone, Copy)]
pub(crate) enum Lab {
    /// An IPv4 address moves from a dual-stack host to an IPv6-only one
    Borrow {
        /// Another way of doing it
        #[arg(long, value_enum)]
        variant: Option<Variant>,
        /// How packets cross
        #[arg(long, value_enum, default_value = "ip6gre")]
        carrier: CarrierWord,
        #[command(flatten)]
        shown: Shown,
    },
    /// An IPv6-only VM reaches IPv4 through a NAT64 at a distance
    Clat {
        /// How the VM comes to know what it needs
        #[arg(long, value_enum, default_value = "given")]
        variant: Knowledge,
        #[command(flatten)]
        shown: Shown,
    },
    /// A home server behind DS-Lite is reached at a VPS's IPv4 address
    Publish {
        /// How much of the address
        #[arg(long, value_enum, default_value = "address")]
        variant: Much,
        #[command(flatten)]
        shown: Shown,
    },
    /// IPv4 hosts and an IPv6-only data centre reach each other
    Siit {
        #[command(flatten)]
        shown: Shown,
    },
    /// An IPv6-only server is reached at ports of a rented host's IPv4 address
    Relay {
        #[command(flatten)]
        shown: Shown,
    },
    /// IPv4-only hosts have IPv6 through tunnels to one that has both
    Tunnel6 {
        #[command(flatten)]
        shown: Shown,
    },
    /// Hosts behind two routers without IPv4 have it, without a tunnel
    Via6 {
        #[command(flatten)]
        shown: Shown,
    },
}

/// What is left of a lab.
#[derive(Args, Clone, Copy)]
pub(crate) struct Shown {
    /// Leave the world standing, and tell how to enter it
    #[arg(long)]
    pub(crate) keep: bool,
    /// The report as data
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Args, Clone)]
pub(crate) struct Invite {
    /// The tunnel6: its name, or the name of its client
    pub(crate) name: String,
    /// What the client has
    #[arg(long = "as", value_name = "FORMAT", default_value = "straddle", value_parser = formats())]
    pub(crate) form: Format,
    /// Write the files into this folder, each under its own name; none is written over
    #[arg(long, value_name = "DIR", conflicts_with = "json")]
    pub(crate) into: Option<PathBuf>,
    /// The same as data: {"name", "as", "files": [{"path", "mode", "text"}], "then": what to run}
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Args, Clone)]
pub(crate) struct Translate {
    /// The bridge that translates; may be left out where the file has one translator only
    #[arg(long, value_name = "NAME")]
    pub(crate) bridge: Option<String>,
    /// The capture: pcap or pcapng, of Ethernet, IP or Linux "cooked" packets
    #[arg(value_name = "IN.pcap")]
    pub(crate) capture: PathBuf,
    /// Where to write the packets that would come out, as pcap of raw IP
    #[arg(value_name = "OUT.pcap")]
    pub(crate) out: Option<PathBuf>,
    /// The same as data: a line of JSON for each packet
    #[arg(long)]
    pub(crate) json: bool,
    /// A clat's IPv6 address, where the file leaves it open or another is to be tried
    #[arg(long, value_name = "IPV6")]
    pub(crate) address6: Option<Ipv6Addr>,
    /// The NAT64's prefix of a clat, where the file leaves it open or another is to be tried
    #[arg(long, value_name = "PREFIX", value_parser = prefix)]
    pub(crate) prefix64: Option<Prefix>,
    /// MTU of the IPv4 side in bytes; 1500 where neither this nor the file says it
    #[arg(long, value_name = "BYTES", value_parser = clap::value_parser!(u16).range(68..))]
    pub(crate) mtu4: Option<u16>,
    /// MTU of the IPv6 side in bytes; 1500 where neither this nor the file says it
    #[arg(long, value_name = "BYTES", value_parser = clap::value_parser!(u16).range(1280..))]
    pub(crate) mtu6: Option<u16>,
}

#[derive(Args, Clone)]
pub(crate) struct Addr {
    #[command(subcommand)]
    pub(crate) sum: Option<Sum>,
    /// Tells which bridges of the file translate this address, and to what
    #[arg(required = true)]
    pub(crate) address: Option<IpAddr>,
    /// The same as data
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Subcommand, Clone)]
pub(crate) enum Sum {
    /// The IPv6 address that stands for an IPv4 address (RFC 6052)
    Embed {
        /// The translation prefix, such as 64:ff9b::/96
        #[arg(value_parser = prefix)]
        prefix: Prefix,
        /// The IPv4 address
        ipv4: Ipv4Addr,
        /// The same as data
        #[arg(long)]
        json: bool,
    },
    /// The IPv4 address that an IPv6 address stands for (RFC 6052)
    Extract {
        /// The translation prefix; `auto` tries all six lengths
        #[arg(value_name = "PREFIX|auto", value_parser = prefix_or_auto)]
        prefix: Whence,
        /// The IPv6 address
        ipv6: Ipv6Addr,
        /// The same as data
        #[arg(long)]
        json: bool,
    },
    /// The prefix of a network's NAT64, out of its AAAA answers for ipv4only.arpa (RFC 7050)
    Prefix {
        /// All the answers
        #[arg(required = true, value_name = "IPV6")]
        answers: Vec<Ipv6Addr>,
        /// The same as data
        #[arg(long)]
        json: bool,
    },
}

/// The prefix that an IPv4 address is taken out of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Whence {
    /// Whichever it can be.
    Auto,
    /// This one.
    Given(Prefix),
}

fn formats() -> impl TypedValueParser<Value = Format> {
    let words = Format::ALL.iter().map(|format| PossibleValue::new(format.name()).help(format.describe()));
    // No other word comes through.
    let of = |word: String| Format::ALL.iter().copied().find(|format| format.name() == word);
    PossibleValuesParser::new(words).map(move |word| of(word).unwrap_or(Format::Straddle))
}

fn prefix(word: &str) -> Result<Prefix, String> {
    translation_prefix(word).map_err(|complaint| format!("{}; {}", complaint.message, complaint.help))
}

fn prefix_or_auto(word: &str) -> Result<Whence, String> {
    if word == "auto" { Ok(Whence::Auto) } else { prefix(word).map(Whence::Given) }
}

#[derive(ValueEnum, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Variant {
    /// The attempt that does not work: bridging the carrier with the uplink
    Bridge,
}

#[derive(ValueEnum, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Knowledge {
    /// The file gives the prefix of the NAT64, and an address of the VM's network
    Given,
    /// Router advertisements tell the prefix (RFC 8781)
    Pref64,
    /// The DNS64's answers tell the prefix (RFC 7050)
    Dns64,
    /// The VM has one address, and a prefix that is routed to it
    Routed,
}

#[derive(ValueEnum, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Much {
    /// All of it, to one server
    Address,
    /// Ports of it, to two servers
    Ports,
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
  3  status: a bridge is not in step; lab: a check failed; doctor: a trap
  4  something is in the way (an object of somebody else, your own session);
     nothing was touched
  5  something failed, and the host is not as it was: what is left is listed";
