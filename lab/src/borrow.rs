mod checks;

use std::path::Path;

use crate::LabError;
use crate::probe::Watch;
use crate::process::Process;
use crate::report::{BeforeAfter, Check, Kept, Report, Traffic};
use crate::state::HostState;
use crate::straddle::{Carrier, Straddle};
use crate::world::{LENDER6, World, WorldOptions};

/// What to build and what to leave.
#[derive(Debug, Clone, Copy, Default)]
pub struct BorrowOptions {
    /// What takes the packets from the lender to the borrower.
    pub carrier: Carrier,
    /// Leave the world standing, with the address moved.
    pub keep: bool,
}

/// Builds the world of the `borrow` recipe, moves the address with the real binary, and back.
///
/// # Errors
/// When the world cannot be built or the binary fails. A measurement that is not as it should be is
/// a check of the report.
pub fn borrow(
    options: &BorrowOptions,
    straddle_exe: &Path,
    progress: &mut dyn FnMut(&str),
) -> Result<Report, LabError> {
    progress("building the world");
    let world = World::build(WorldOptions::default())?;
    let straddle = Straddle::borrow(&world, straddle_exe, options.carrier)?;

    progress("measuring between the client and the lender");
    let before = Traffic::measure(&world, &world.lender)?;
    let states = [HostState::read(&world.lender)?, HostState::read(&world.borrower)?];
    let watch = Watch::start(&world.client, LENDER6)?;

    progress("straddle up: the address moves to the borrower");
    let running = straddle.up_on(&[&world.borrower, &world.lender])?;
    progress("measuring between the client and the borrower");
    let after = Traffic::measure(&world, &world.borrower)?;
    let traffic = BeforeAfter { before, after };
    progress("checking every way in and out");
    let mut list = checks::moved(&world, options.carrier, &traffic)?;
    if running.is_empty() {
        list.push(checks::nobody_stays(&world, straddle_exe)?);
    }

    progress("straddle down: the address returns");
    straddle.down_on(&[&world.lender, &world.borrower], running)?;
    list.push(checks::watched(watch)?);
    list.extend(checks::returned(&world, &states)?);
    let kept = if options.keep { Some(keep(world, &straddle)?) } else { None };
    Ok(page(options.carrier, traffic, list, kept))
}

fn page(carrier: Carrier, traffic: BeforeAfter, checks: Vec<Check>, kept: Option<Kept>) -> Report {
    let title = format!("Borrow 192.0.2.158: a dual-stack lender, an IPv6-only borrower, {carrier}");
    Report {
        title,
        drawing: DRAWING,
        traffic: Some(traffic),
        attempts: Vec::new(),
        checks,
        notes: vec![NOTE.into()],
        kept,
    }
}

fn keep(world: World, straddle: &Straddle) -> Result<Kept, LabError> {
    let running = straddle.up_on(&[&world.borrower, &world.lender])?;
    let kept = Kept::keep(world)?;
    running.into_iter().for_each(Process::leave);
    Ok(kept)
}

const NOTE: &str = "A router without an IPv4 address of its own, as the lender is while its \
address is lent, signs its ICMP messages with 192.0.0.8 (RFC 7600).";

const DRAWING: &str = "
  client ───────── inet ──────────── switch ────────── lender
  198.51.100.10    192.0.2.1         drops every       2001:db8:aefc::2
                   │                 source MAC but    ║
                   │ IPv6 only       the lender's      ║ carrier over IPv6,
                   │                                   ║ by way of inet
                   └────────────────────────────────── borrower
                                                       2001:db8:eec0::2
                                                       192.0.2.158, lent
";
