//! `kill -9` at every state-changing system call of `up`.
//!
//! ```text
//!  inet ── switch ── lender      one of the two is killed, and killed, and killed
//!    └───────────── borrower
//! ```
//!
//! strace kills before the call is made, so the K-th kill leaves what K - 1 calls have done. It
//! counts each system call by its name and each process by itself, and so do we.

use std::collections::BTreeMap;
use std::fs;

use straddle_lab::host::Host;
use straddle_lab::state::HostState;
use straddle_lab::straddle::{Installed, Straddle};
use straddle_lab::world::{World, WorldOptions};
use straddle_lab::{Carrier, LabError};

use crate::{exe, same, same_up, turn};

const CALLS: &str = "sendto,sendmsg,sendmmsg,ioctl,write,writev,pwrite64,rename,renameat,renameat2,\
    unlink,unlinkat,link,linkat,symlink,fsync,fdatasync,ftruncate,fallocate,mkdir,mkdirat,rmdir";

/// How often `up` makes each call; of several processes, the one that makes it most often.
fn calls(world: &World, host: &Host, straddle: Installed<'_>) -> Result<BTreeMap<String, u32>, LabError> {
    let log = world.directory().join("strace.log");
    let path = log.to_string_lossy().into_owned();
    traced(host, straddle, &["-o", &path, "-e", &format!("trace={CALLS}")])?.good()?;
    let mut counts: BTreeMap<(String, String), u32> = BTreeMap::new();
    for line in fs::read_to_string(&log).unwrap().lines() {
        let Some((process, rest)) = line.split_once(' ') else { continue };
        let Some((call, _)) = rest.trim_start().split_once('(') else { continue };
        // Threads that are interrupted resume on a line of their own: `<... write resumed>`.
        if !call.starts_with('<') {
            *counts.entry((call.to_owned(), process.to_owned())).or_default() += 1;
        }
    }
    let mut most = BTreeMap::new();
    for ((call, _), count) in counts {
        let known: &mut u32 = most.entry(call).or_default();
        *known = count.max(*known);
    }
    Ok(most)
}

/// Runs `up` under strace with these options.
fn traced(host: &Host, straddle: Installed<'_>, options: &[&str]) -> Result<straddle_lab::Output, LabError> {
    let words = straddle.words();
    let mut command = vec!["strace", "-f", "-qqq", "--seccomp-bpf"];
    command.extend(options);
    command.extend(words.iter().map(String::as_str));
    command.push("up");
    host.try_run(&command)
}

/// `up`, killed before its `count`-th `call`. Returns whether it came through unharmed.
fn killed(host: &Host, straddle: Installed<'_>, call: &str, count: u32) -> Result<bool, LabError> {
    let inject = format!("inject={call}:signal=SIGKILL:when={count}");
    let trace = format!("trace={call}");
    Ok(traced(host, straddle, &["-o", "/dev/null", "-e", &trace, "-e", &inject])?.status.success())
}

fn every_kill_is_undone_and_made_good(pick: fn(&World) -> &Host) -> Result<(), LabError> {
    let world = World::build(WorldOptions::default())?;
    let straddle = Straddle::borrow(&world, exe(), Carrier::Ip6gre)?;
    let host = pick(&world);
    let installed = straddle.on(host);
    let before = HostState::read(host)?;
    let calls = calls(&world, host, installed)?;
    let up = HostState::read(host)?.configured();
    installed.down()?;
    same("after an undisturbed up and down", &before, host);
    for (call, count) in &calls {
        for k in 1..=*count {
            let when = format!("killed at {call} {k} of {count}, then");
            killed(host, installed, call, k)?;
            installed.down()?;
            same(&format!("{when} down"), &before, host);
            killed(host, installed, call, k)?;
            installed.up()?;
            same_up(&format!("{when} up"), &up, host);
            installed.down()?;
            same(&format!("{when} up and down"), &before, host);
        }
        assert!(killed(host, installed, call, count + 1)?, "{call} is made {count} times: {calls:?}");
        installed.down()?;
    }
    assert!(calls.values().sum::<u32>() > 10, "strace saw what up does: {calls:?}");
    Ok(())
}

#[test]
fn a_lender_survives_kill_9_at_every_step() -> Result<(), LabError> {
    let Some(_turn) = turn("a_lender_survives_kill_9_at_every_step") else { return Ok(()) };
    every_kill_is_undone_and_made_good(|world| &world.lender)
}

#[test]
fn a_borrower_survives_kill_9_at_every_step() -> Result<(), LabError> {
    let Some(_turn) = turn("a_borrower_survives_kill_9_at_every_step") else { return Ok(()) };
    every_kill_is_undone_and_made_good(|world| &world.borrower)
}
