//! `kill -9` at every state-changing system call of `up`.
//!
//! ```text
//!  inet ── switch ── lender      one of the two is killed, and killed, and killed;
//!    └───────────── borrower     several such worlds side by side
//!
//!  client ── inet ── gate ── …   the same of a translator
//! ```
//!
//! strace kills before the call is made, so a kill at the K-th leaves what K - 1 have done. It counts
//! each system call by its name and each process by itself, and so do we.

use std::any::Any;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::sync::{Mutex, PoisonError};
use std::thread;

use straddle_lab::host::Host;
use straddle_lab::state::HostState;
use straddle_lab::straddle::{Installed, Straddle};
use straddle_lab::world::{DataCentre, World, WorldOptions};
use straddle_lab::{Carrier, LabError, Output, Peer, SIIT_CONFIG};

use crate::{exe, same, same_up, turn};

const CALLS: &str = "sendto,sendmsg,sendmmsg,ioctl,write,writev,pwrite64,rename,renameat,renameat2,\
    unlink,unlinkat,link,linkat,symlink,fsync,fdatasync,ftruncate,fallocate,mkdir,mkdirat,rmdir";

/// What a traced call has in it that only asks, or speaks to the user.
const CHANGES_NOTHING: [&str; 9] =
    ["RTM_GET", "_MSG_GET", "TCGETS", "SIOCGIF", "TUNGET", "FIONBIO", "FIOCLEX", "write(1,", "write(2,"];

/// Where a kill can be: the name of a call, and the how-manieth of its process.
type Place = (String, u32);

/// A world with a host to be killed on.
pub(crate) struct Stage {
    /// It stands as long as this is kept.
    #[expect(dead_code, reason = "kept, not asked")]
    pub(crate) world: Box<dyn Any>,
    pub(crate) host: Host,
    pub(crate) straddle: Straddle,
}

/// Builds one of them.
pub(crate) type Build = fn() -> Result<Stage, LabError>;

/// One of them, and what the host was.
struct Victim {
    stage: Stage,
    before: HostState,
}

impl Victim {
    fn new(build: Build) -> Result<Victim, LabError> {
        let stage = build()?;
        let before = HostState::read(&stage.host)?;
        Ok(Victim { stage, before })
    }

    fn host(&self) -> &Host {
        &self.stage.host
    }

    fn straddle(&self) -> Installed<'_> {
        self.stage.straddle.on(self.host())
    }

    /// An undisturbed `up`: the places in it where a kill makes a difference, and its end state.
    fn undisturbed(&self) -> Result<(BTreeSet<Place>, HostState), LabError> {
        let log = self.straddle().home().with_extension("strace");
        let path = log.to_string_lossy().into_owned();
        self.traced(&["-s", "0", "-o", &path, "-e", &format!("trace={CALLS}")])?.good()?;
        let up = HostState::read(self.host())?.configured();
        self.down("an undisturbed up")?;
        Ok((places(&fs::read_to_string(&log).unwrap()), up))
    }

    /// Runs `up` under strace with these options.
    fn traced(&self, options: &[&str]) -> Result<Output, LabError> {
        let words = self.straddle().words();
        // Not `--seccomp-bpf`: it is quicker, but with it strace 6.1 forgets to send the signal.
        let mut command = vec!["strace", "-f", "-qqq"];
        command.extend(options);
        command.extend(words.iter().map(String::as_str));
        command.push("up");
        self.host().try_run(&command)
    }

    fn killed(&self, (call, count): &Place) -> Result<(), LabError> {
        let inject = format!("inject={call}:signal=SIGKILL:when={count}");
        let trace = format!("trace={call}");
        let output = self.traced(&["-o", "/dev/null", "-e", &trace, "-e", &inject])?;
        assert!(!output.status.success(), "{call} {count} was not reached");
        Ok(())
    }

    fn down(&self, when: &str) -> Result<(), LabError> {
        self.straddle().down()?;
        same(&format!("{when}, then down"), &self.before, self.host());
        // The next `up` makes its directories anew, so that all make the same calls.
        fs::remove_dir_all(self.straddle().home()).unwrap();
        Ok(())
    }

    /// Killed there: `down` undoes it, and `up` makes it good.
    fn survives(&self, place: &Place, up: &HostState) -> Result<(), LabError> {
        let when = format!("killed at {} {}", place.0, place.1);
        self.killed(place)?;
        self.down(&when)?;
        self.killed(place)?;
        self.straddle().up()?;
        same_up(&format!("{when}, then up"), up, self.host());
        self.down(&format!("{when}, then up"))
    }
}

/// Reads a log of strace: `PID CALL(ARGUMENTS) = RESULT`.
fn places(log: &str) -> BTreeSet<Place> {
    let mut counts: BTreeMap<(&str, &str), u32> = BTreeMap::new();
    let mut places = BTreeSet::new();
    for line in log.lines() {
        let Some((process, rest)) = line.split_once(' ') else { continue };
        // What another process interrupts goes on in a line of its own: `<... write resumed>`.
        let Some((call, _)) = rest.trim_start().split_once('(').filter(|(call, _)| !call.starts_with('<'))
        else {
            continue;
        };
        let count = counts.entry((call, process)).or_default();
        *count += 1;
        if !CHANGES_NOTHING.iter().any(|word| rest.contains(word)) {
            places.insert((call.to_owned(), *count));
        }
    }
    places
}

/// Kills a host of such worlds, several side by side, wherever it makes a difference.
pub(crate) fn every_kill_is_survived(build: Build) -> Result<(), LabError> {
    let (places, up) = Victim::new(build)?.undisturbed()?;
    assert!(places.len() > 20, "strace saw what up does: {places:?}");
    let queue = Mutex::new(places.into_iter());
    let next = || queue.lock().unwrap_or_else(PoisonError::into_inner).next();
    let work = || -> Result<(), LabError> {
        let victim = Victim::new(build)?;
        while let Some(place) = next() {
            victim.survives(&place, &up)?;
        }
        Ok(())
    };
    // Much of it is waiting, for the disk and for the kernel.
    let workers = 4 * thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        let threads: Vec<_> = (0..workers).map(|_| scope.spawn(work)).collect();
        threads
            .into_iter()
            .try_for_each(|thread| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    })
}

fn borrow(pick: fn(&World) -> &Host) -> Result<Stage, LabError> {
    let world = World::build(WorldOptions::default())?;
    let straddle = Straddle::borrow(&world, exe(), Carrier::Ip6gre)?;
    Ok(Stage { host: pick(&world).clone(), world: Box::new(world), straddle })
}

#[test]
fn a_lender_survives_kill_9_at_every_step() -> Result<(), LabError> {
    let Some(_turn) = turn("a_lender_survives_kill_9_at_every_step") else { return Ok(()) };
    every_kill_is_survived(|| borrow(|world| &world.lender))
}

#[test]
fn a_borrower_survives_kill_9_at_every_step() -> Result<(), LabError> {
    let Some(_turn) = turn("a_borrower_survives_kill_9_at_every_step") else { return Ok(()) };
    every_kill_is_survived(|| borrow(|world| &world.borrower))
}

/// A translator whose plain packets the kernel translates: a filter and its program are among the steps.
#[test]
fn a_gate_survives_kill_9_at_every_step() -> Result<(), LabError> {
    let Some(_turn) = turn("a_gate_survives_kill_9_at_every_step") else { return Ok(()) };
    every_kill_is_survived(|| {
        let world = DataCentre::build(Peer::Tayga)?;
        let file = format!("{SIIT_CONFIG}fast-path = \"require\"\n");
        let straddle = Straddle::within(world.directory(), exe(), &file)?;
        Ok(Stage { host: world.gate.clone(), world: Box::new(world), straddle })
    })
}

#[test]
fn a_log_of_strace_tells_where_to_kill() {
    let log = "7 sendto(3, [{nlmsg_len=20, nlmsg_type=RTM_GETLINK, nlmsg_flags=NLM_F_REQUEST|NLM_F_DUMP}, \"\"..., 20, 0, NULL, 0) = 20\n\
               7 sendto(3, [{nlmsg_len=20, nlmsg_type=RTM_NEWADDR}, \"\"..., 20, 0, NULL, 0) = 20\n\
               9 sendto(3, [{nlmsg_type=RTM_DELADDR} <unfinished ...>\n\
               7 <... fsync resumed>) = 0\n\
               7 write(1, \"\"..., 7) = 7\n";
    let expected = [("sendto".to_owned(), 1), ("sendto".to_owned(), 2)];
    assert_eq!(places(log), expected.into());
}
