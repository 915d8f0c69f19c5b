use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use straddle_intent::diff::Conflict;
use straddle_intent::object::{Filter, FilterRule, NeighbourKind, Object, Wanted};
use straddle_intent::snapshot::Snapshot;
use straddle_intent::step::Step;
use straddle_kernel::{Journal, Turn, apply, learn, rehearse, sessions_at, undo};

use crate::cli::{Exit, Place};
use crate::complaint::Complaint;
use crate::keep::{TURN, runner};
use crate::render;
use crate::say;
use crate::site::{Look, Site};

use super::Ended;

/// How long a gateway has to tell its link-layer address.
const PATIENCE: Duration = Duration::from_secs(3);
/// How long whoever has an address already has to say so (RetransTimer, RFC 4861 §10).
const DETECTION: Duration = Duration::from_secs(1);

/// Takes the steps of the plan and verifies them.
pub(crate) fn up(place: &Place, force: bool) -> Ended {
    let mut site = Site::open(place)?;
    let turn = Turn::take(&place.runtime_dir, TURN)?;
    let look = raise(&mut site, place, force)?;
    if let Some(runner) = runner(&place.runtime_dir)? {
        // While we have the turn: the runner reads the file before it looks at the host again.
        runner.reload()?;
    } else if look.plan.needs_serving() {
        say::line(&render::needs_serving(&look.plan));
    }
    drop(turn);
    Ok(Exit::Done)
}

/// Brings the host in step with the plan. Whoever calls has the turn.
pub(crate) fn raise(site: &mut Site, place: &Place, force: bool) -> Result<Look, Complaint> {
    learn_gateways(site, place)?;
    let look = site.look(place)?;
    let steps = look.steps().map_err(Complaint::Conflicts)?;
    if !force {
        refuse_own_session(&steps, &look)?;
        refuse_taken(&steps, &look.live)?;
    }
    if steps.is_empty() {
        say::line(&render::in_step(&look.plan));
        return Ok(look);
    }
    steps.iter().filter_map(loaded).try_for_each(rehearse)?;
    let mut journal = Journal::open(&place.state_dir, &site.boot)?;
    let total = steps.len();
    let mut progress = |index: usize, step: &Step| say::line(&render::taking(index, total, step));
    let taken = apply(&mut site.kernel, &mut journal, &steps, &mut progress).map_err(Complaint::Failure)?;
    let look = verified(site, &mut journal, &taken)?;
    if let Err(error) = journal.close() {
        // The journal is right as it stands, only longer than it need be.
        say::aside(&(render::warning(&error.to_string()) + "\n"));
    }
    say::line(&render::in_step(&look.plan));
    Ok(look)
}

/// Looks again: nothing may be left to do.
fn verified(site: &mut Site, journal: &mut Journal, taken: &[Step]) -> Result<Look, Complaint> {
    let complaint = match site.look_with(journal.memory().clone()) {
        Ok(look) => match look.steps() {
            Ok(steps) if steps.is_empty() => return Ok(look),
            Ok(steps) => {
                let left = undo(&mut site.kernel, journal, taken);
                return Err(Complaint::NotVerified { steps, left });
            }
            Err(conflicts) => Complaint::Conflicts(conflicts),
        },
        Err(complaint) => complaint,
    };
    // Where the way back fails too, that is what must be told.
    let left = undo(&mut site.kernel, journal, taken);
    Err(if left.is_empty() { complaint } else { Complaint::Left(left) })
}

/// While a host has its address it can ask for its gateway's link-layer address; later it asks with
/// sender 0.0.0.0, which some hosters drop.
pub(crate) fn learn_gateways(site: &mut Site, place: &Place) -> Result<(), Complaint> {
    let look = site.look(place)?;
    for wanted in &look.plan.wanted {
        let Wanted::Pinned { dev, address } = wanted else { continue };
        let known =
            look.live.neighbours.iter().chain(look.memory.displaced.iter().flat_map(|d| &d.neighbours));
        let mut known = known.filter(|n| n.dev == *dev && n.address == *address);
        if !known.any(|neighbour| neighbour.kind != NeighbourKind::Proxy) {
            // Whether it answered is seen in the next look.
            learn(dev, &[*address], PATIENCE)?;
        }
    }
    Ok(())
}

/// An address that we are about to answer for must be nobody else's: duplicate address detection (RFC 4862 §5.4,
/// RFC 5227) for what the kernel does not see as an address of its own.
fn refuse_taken(steps: &[Step], live: &Snapshot) -> Result<(), Complaint> {
    let mut asked: BTreeMap<&str, Vec<IpAddr>> = BTreeMap::new();
    for step in steps {
        let Step::Create(Object::Neighbour(entry)) = step else { continue };
        if entry.kind == NeighbourKind::Proxy && live.holder(entry.address).next().is_none() {
            asked.entry(&entry.dev).or_default().push(entry.address);
        }
    }
    for (dev, addresses) in asked {
        // Where nobody can be asked, as by a device that is down, nobody answers.
        if let Ok(Some(taken)) = learn(dev, &addresses, DETECTION) {
            return Err(Complaint::Conflicts(vec![Conflict {
                message: format!("somebody on {dev} answers for {taken} already"),
                help: "write an address that nobody has, or end whatever has it; --force takes it anyway"
                    .into(),
            }]));
        }
    }
    Ok(())
}

/// The operator's own session must not arrive at an address that is about to move, or to lead elsewhere.
/// sudo drops SSH_CONNECTION, so established connections count too.
///
/// One that had left already and was brought back by somebody is none of theirs.
fn refuse_own_session(steps: &[Step], look: &Look) -> Result<(), Complaint> {
    let left = |step: &Step| match step {
        Step::Vacate(displaced) => {
            let known = look.memory.displaced.iter().any(|known| known.address == displaced.address);
            (!known).then_some((displaced.address, None))
        }
        Step::Create(_) | Step::Remove(_) | Step::Change { .. } | Step::Set(_) | Step::Reinstate(_) => None,
    };
    let present = look.live.filter.as_deref().unwrap_or_default();
    let rules = steps.iter().filter_map(loaded).flat_map(|filter| &filter.rules);
    let new = rules.filter(|rule| !present.contains(&rule.to_string()));
    let diverted = new.filter_map(FilterRule::diverts);
    for (address, ports) in steps.iter().filter_map(left).chain(diverted) {
        let meant = |port: u16| ports.as_ref().is_none_or(|ports| ports.contains(&port));
        let ssh = ssh_arrives_at(address).is_some_and(meant);
        let mut sessions = sessions_at(address)?;
        sessions.retain(|session| meant(session.port));
        if ssh || !sessions.is_empty() {
            return Err(Complaint::Sessions { address, ssh, sessions });
        }
    }
    Ok(())
}

/// The nft table that a step loads.
fn loaded(step: &Step) -> Option<&Filter> {
    if let Step::Create(Object::Filter(filter)) | Step::Change { to: Object::Filter(filter), .. } = step {
        Some(filter)
    } else {
        None
    }
}

/// The port of `SSH_CONNECTION`, if it arrives at this address: client address, client port, server address,
/// server port.
fn ssh_arrives_at(address: Ipv4Addr) -> Option<u16> {
    let connection = std::env::var("SSH_CONNECTION").unwrap_or_default();
    let mut server = connection.split(' ').skip(2);
    let here = server.next()?.parse() == Ok(address);
    server.next()?.parse().ok().filter(|_| here)
}
