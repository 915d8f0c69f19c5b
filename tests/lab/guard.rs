//! However a lab ends, its namespaces go, and nobody else's.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::Command;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use straddle_lab::guard::{Guard, tag};
use straddle_lab::process::Process;
use straddle_lab::world::{World, WorldOptions};
use straddle_lab::{LabError, wait};

use crate::{exe, turn};

const LIMIT: Duration = Duration::from_secs(20);

fn namespaces() -> Vec<String> {
    let output = Command::new("ip").args(["netns", "list"]).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().filter_map(|line| line.split_whitespace().next()).map(str::to_owned).collect()
}

fn of_tag(tag: &str) -> Vec<String> {
    let start = format!("straddle-{tag}-");
    namespaces().into_iter().filter(|name| name.starts_with(&start)).collect()
}

/// `straddle lab borrow`, ended by a signal in its midst.
fn killed(signal: Signal, at: &str) -> Result<(), LabError> {
    let mut neighbour = Guard::start()?;
    let other = neighbour.host("other")?;
    let lab = lab(&neighbour)?;
    let tag = tag(lab.id(), 0);
    let there = format!("straddle-{tag}-{at}");
    wait::until(&there, LIMIT, || of_tag(&tag).contains(&there).then_some(()))?;
    kill_process(Pid::from_raw(lab.id().try_into().unwrap()).unwrap(), signal).unwrap();
    assert!(lab.ends(LIMIT).is_err(), "it was killed");
    wait::until("the lab's namespaces to go", LIMIT, || of_tag(&tag).is_empty().then_some(()))?;
    let directory = std::env::temp_dir().join(format!("straddle-{tag}"));
    wait::until("its directory to go", LIMIT, || (!directory.exists()).then_some(()))?;
    assert!(namespaces().iter().any(|name| name == other.namespace()), "another lab's was touched");
    Ok(())
}

fn lab(neighbour: &Guard) -> Result<Process, LabError> {
    let mut command = Command::new(exe());
    command.args(["lab", "borrow"]);
    Process::start(command, &neighbour.directory().join("lab.log"))
}

#[test]
fn a_killed_lab_leaves_nothing() -> Result<(), LabError> {
    let Some(_turn) = turn("a_killed_lab_leaves_nothing") else { return Ok(()) };
    killed(Signal::KILL, "client")?;
    killed(Signal::KILL, "borrower")?;
    killed(Signal::INT, "borrower")?;
    killed(Signal::TERM, "inet")
}

#[test]
fn a_panic_leaves_nothing() {
    let Some(_turn) = turn("a_panic_leaves_nothing") else { return };
    let mut names = Vec::new();
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        let world = World::build(WorldOptions::default()).unwrap();
        names.extend(world.hosts().map(|host| host.namespace().to_owned()));
        panic!("in the middle of a lab");
    }));
    assert!(panicked.is_err());
    assert_eq!(names.len(), 5);
    let left: Vec<_> = namespaces().into_iter().filter(|name| names.contains(name)).collect();
    assert!(left.is_empty(), "{left:?}");
}

/// Two labs of one process have different names.
#[test]
fn labs_stand_side_by_side() -> Result<(), LabError> {
    let Some(_turn) = turn("labs_stand_side_by_side") else { return Ok(()) };
    let (one, other) = (World::build(WorldOptions::default())?, World::build(WorldOptions::default())?);
    let name = |world: &World| world.client.namespace().to_owned();
    assert_ne!(name(&one), name(&other));
    let kept = name(&other);
    drop(one);
    assert!(namespaces().contains(&kept));
    Ok(())
}

/// A kept world stands until the command of its report takes it away.
#[test]
fn a_kept_world_stands_until_told() -> Result<(), LabError> {
    let Some(_turn) = turn("a_kept_world_stands_until_told") else { return Ok(()) };
    let world = World::build(WorldOptions::default())?;
    let names: Vec<String> = world.hosts().map(|host| host.namespace().to_owned()).collect();
    let directory = world.directory().to_path_buf();
    let mut command = world.client.command("sleep");
    command.arg("1000");
    let inhabitant = Process::start(command, &directory.join("sleep.log"))?;
    let remove = world.keep()?;
    let standing = || namespaces().into_iter().filter(|name| names.contains(name)).count();
    assert_eq!(standing(), names.len());
    let words = remove.strip_prefix("sudo ").unwrap();
    assert!(Command::new("sh").args(["-c", words]).status().unwrap().success());
    assert_eq!(standing(), 0);
    assert!(!directory.exists());
    assert!(inhabitant.ends(LIMIT).is_err(), "what ran inside has been killed");
    Ok(())
}
