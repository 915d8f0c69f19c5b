use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use straddle_intent::diff::Conflict;
use straddle_intent::object::{Filter, FilterRule, NeighbourKind, Object, Wanted};
use straddle_intent::plan::{Plan, Via};
use straddle_intent::snapshot::Snapshot;
use straddle_intent::step::Step;
use straddle_kernel::given::{self, Given};
use straddle_kernel::{Journal, Session, Turn, apply, learn, rehearse, sessions_at, undo};

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
        refuse_own_session(&steps, &look, &place.state_dir)?;
        refuse_taken(&steps, &look.live)?;
    }
    if steps.is_empty() {
        remember_given(&look.plan, &place.state_dir);
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
    remember_given(&look.plan, &place.state_dir);
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
/// sudo drops SSH_CONNECTION, so established connections count too: but not to what was given away before, and has only
/// come back, by a reboot or by somebody. Whoever connects to that is a stranger, unless SSH_CONNECTION names the very
/// connection.
fn refuse_own_session(steps: &[Step], look: &Look, state_dir: &Path) -> Result<(), Complaint> {
    let left = |step: &Step| match step {
        Step::Vacate(displaced) => Some(Given { address: displaced.address, ports: None }),
        Step::Create(_) | Step::Remove(_) | Step::Change { .. } | Step::Set(_) | Step::Reinstate(_) => None,
    };
    let present = look.live.filter.as_deref().unwrap_or_default();
    let rules = steps.iter().filter_map(loaded).flat_map(|filter| &filter.rules);
    let new = rules.filter(|rule| !present.contains(&rule.to_string()));
    let before = given::read(state_dir)?;
    for going in steps.iter().filter_map(left).chain(new.filter_map(diverted)) {
        let address = going.address;
        let meant = |port: u16| going.ports.is_none_or(|(first, last)| (first..=last).contains(&port));
        let own = ssh_arrives_at(address).filter(|session| meant(session.port));
        let mut sessions = sessions_at(address)?;
        sessions.retain(|session| meant(session.port));
        let known = look.memory.displaced.iter().any(|known| known.address == address);
        if known || before.iter().any(|given| given.covers(&going)) {
            sessions.retain(|session| own.as_ref() == Some(session));
        }
        if !sessions.is_empty() {
            let ssh = own.is_some_and(|own| sessions.contains(&own));
            return Err(Complaint::Sessions { address, ssh, sessions });
        }
    }
    Ok(())
}

/// Without the memory of it a stranger's connection holds off the next start, and no more.
fn remember_given(plan: &Plan, state_dir: &Path) {
    let remember = || {
        let (before, mut now) = (given::read(state_dir)?, given_by(plan));
        // What is only waited for was given all the same.
        if plan.bridges.iter().any(|bridge| matches!(bridge.via, Via::Awaited(_))) {
            now.extend(before.iter().filter(|given| !now.contains(given)).cloned().collect::<Vec<_>>());
        }
        if now == before { Ok(()) } else { given::write(state_dir, &now) }
    };
    if let Err(error) = remember() {
        say::aside(&(render::warning(&error.to_string()) + "\n"));
    }
}

/// What the operator gives away with a plan.
fn given_by(plan: &Plan) -> Vec<Given> {
    let of = |wanted: &Wanted| match wanted {
        Wanted::Vacant { address, .. } => vec![Given { address: *address, ports: None }],
        Wanted::Object(Object::Filter(filter)) => filter.rules.iter().filter_map(diverted).collect(),
        Wanted::Object(_) | Wanted::Sysctl(_) | Wanted::LooseReversePath { .. } | Wanted::Pinned { .. } => {
            Vec::new()
        }
    };
    plan.wanted.iter().flat_map(of).collect()
}

/// What a rule sends away from this host.
fn diverted(rule: &FilterRule) -> Option<Given> {
    let (address, ports) = rule.diverts()?;
    Some(Given { address, ports: ports.map(|ports| (*ports.start(), *ports.end())) })
}

/// The nft table that a step loads.
fn loaded(step: &Step) -> Option<&Filter> {
    if let Step::Create(Object::Filter(filter)) | Step::Change { to: Object::Filter(filter), .. } = step {
        Some(filter)
    } else {
        None
    }
}

/// The connection of `SSH_CONNECTION`, if it arrives at this address: client address, client port, server address,
/// server port.
fn ssh_arrives_at(address: Ipv4Addr) -> Option<Session> {
    let connection = std::env::var("SSH_CONNECTION").unwrap_or_default();
    let mut words = connection.split(' ');
    let peer = SocketAddr::new(words.next()?.parse().ok()?, words.next()?.parse().ok()?);
    let here = words.next()?.parse() == Ok(address);
    let port = words.next()?.parse().ok()?;
    here.then_some(Session { port, peer })
}
