//! The running straddle: up, serve, and whenever the kernel says that something changed, look again.

mod discovery;
mod runner;
mod service;
mod serving;
mod updates;

pub(crate) use runner::runner;
pub(crate) use service::{Service, ask};

use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use straddle_intent::plan::{Bridge, Plan};
use straddle_kernel::{Turn, Watch};

use crate::cli::Place;
use crate::commands::raise;
use crate::complaint::Complaint;
use crate::render;
use crate::say;
use crate::site::Site;

use discovery::{Discovery, Found};
use service::Door;
use serving::Serving;
use updates::Updates;

/// How long changes of the kernel may come one after another before they are looked at.
const SETTLE: Duration = Duration::from_millis(100);
/// What tells nobody when it changes (sysctls, nft) is looked at this often.
const ROUND: Duration = Duration::from_secs(30);

/// The name of the lock that a running straddle holds.
const LOCK: &str = "run";
/// The name of the lock of whoever is changing the host.
pub(crate) const TURN: &str = "turn";

/// A straddle that stays.
pub(crate) struct Keeper<'a> {
    place: &'a Place,
    site: Site,
    plan: Plan,
    serving: Serving,
    discovery: Discovery,
    /// What it has found, as told to the loops.
    found: Found,
    updates: Updates,
    watch: Watch,
    door: Door,
    end: UnixStream,
    reload: UnixStream,
    _lock: Turn,
}

enum Woken {
    End,
    Reload,
    Asked,
    Changed,
    Ended,
    Found,
    Told,
}

impl<'a> Keeper<'a> {
    /// Brings the host in step and starts to serve.
    pub(crate) fn begin(place: &'a Place, force: bool) -> Result<Keeper<'a>, Complaint> {
        let end = signals(&[SIGTERM, SIGINT])?;
        let reload = signals(&[SIGHUP])?;
        let lock = Turn::hold(&place.runtime_dir, LOCK)?;
        // What may fail, fails before the host is touched.
        let door = Door::open(&place.runtime_dir)?;
        let mut site = Site::open(place)?;
        // Subscribed before the first look: nothing is missed between.
        let watch = Watch::begin()?;
        let turn = Turn::take(&place.runtime_dir, TURN)?;
        let plan = raise(&mut site, place, force)?.plan;
        drop(turn);
        let served: Vec<&Bridge> = plan.served().collect();
        let (mut serving, found) = (Serving::default(), Found::new());
        if let Some(complaint) = serving.change(&served, &found).into_iter().next() {
            return Err(complaint);
        }
        let discovery = Discovery::begin(&served)?;
        let updates = Updates::begin(&plan.updates, &site.endpoints)?;
        Ok(Keeper {
            place,
            site,
            plan,
            discovery,
            found,
            updates,
            serving,
            watch,
            door,
            end,
            reload,
            _lock: lock,
        })
    }

    /// Serves until told to end. The host stays as it is then: `down` takes it back.
    pub(crate) fn stay(mut self) -> Result<(), Complaint> {
        say::line(&format!("ready: serving {} of host {}", served(self.serving.bridges()), self.plan.host));
        tell_systemd(sd_notify::NotifyState::Ready);
        loop {
            match self.wait()? {
                Woken::End => break,
                Woken::Asked => {
                    self.door.answer(self.serving.report(&self.found), self.updates.report());
                }
                Woken::Reload => self.reload(),
                Woken::Found => self.take_prefixes(),
                Woken::Told => self.take_endpoints(),
                Woken::Changed => {
                    self.watch.drain();
                    self.look_again();
                }
                Woken::Ended => {
                    // A device has gone: it is made anew first.
                    self.look_again();
                    self.serve();
                }
            }
        }
        tell_systemd(sd_notify::NotifyState::Stopping);
        say::line("ended; the host stays as it is: take it back with `straddle down`");
        Ok(())
    }

    fn wait(&mut self) -> Result<Woken, Complaint> {
        let mut fds = vec![
            self.end.as_fd(),
            self.reload.as_fd(),
            self.door.fd(),
            self.discovery.fd(),
            self.updates.fd(),
            self.watch.fd(),
        ];
        fds.extend(self.serving.ended());
        let mut fds: Vec<PollFd<'_>> =
            fds.into_iter().map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)).collect();
        wait_for(&mut fds, ROUND)?;
        let woken: Vec<bool> = fds.iter().map(|fd| !fd.revents().is_empty()).collect();
        let [end, reload, asked, found, told, changed, ended @ ..] = woken.as_slice() else {
            return Ok(Woken::Changed);
        };
        let (end, reload, asked, found, told, changed) = (*end, *reload, *asked, *found, *told, *changed);
        let ended = ended.contains(&true);
        if (found || told) && !(end || reload || asked || ended) {
            return Ok(if found { Woken::Found } else { Woken::Told });
        }
        // Changes come in rows: whoever comes meanwhile is served first.
        let quiet = |keeper: &mut Self| -> Result<Woken, Complaint> {
            let fds = [keeper.end.as_fd(), keeper.reload.as_fd(), keeper.door.fd()];
            let mut fds = fds.map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN));
            wait_for(&mut fds, SETTLE)?;
            Ok(Woken::Changed)
        };
        Ok(match (end, reload, asked, ended, changed) {
            (true, ..) => Woken::End,
            (_, true, ..) => Woken::Reload,
            (_, _, true, ..) => Woken::Asked,
            (_, _, _, true, _) => Woken::Ended,
            (_, _, _, _, true) => return quiet(self),
            _ => Woken::Changed,
        })
    }

    /// Brings the host back in step. What can't be done is told, and tried again when something changes.
    fn look_again(&mut self) {
        let turn = match Turn::take(&self.place.runtime_dir, TURN) {
            Ok(turn) => turn,
            Err(error) => return say::aside(&render::complaint(&error.into())),
        };
        // Whoever had the turn may have changed the file, and has said so: it is read first.
        if is_readable(&self.reload) || is_readable(&self.end) {
            return;
        }
        if let Err(complaint) = self.repair() {
            say::aside(&render::complaint(&complaint));
        }
        drop(turn);
        if self.updates.suits(&self.plan.updates) {
            self.updates.follow(&self.plan.updates);
        } else {
            self.update_anew();
        }
        self.serve();
    }

    /// Tells and hears for what there is by now; nothing, when that can't be, until something changes.
    fn update_anew(&mut self) {
        // The port is free once whoever listens there has ended.
        let begun = Updates::begin(&[], &self.site.endpoints).and_then(|none| {
            self.updates = none;
            Updates::begin(&self.plan.updates, &self.site.endpoints)
        });
        match begun {
            Ok(updates) => self.updates = updates,
            Err(complaint) => say::aside(&render::complaint(&complaint)),
        }
    }

    /// What another host has told is remembered, then the plan follows it.
    fn take_endpoints(&mut self) {
        if self.updates.ended() {
            self.update_anew();
        }
        let heard = self.updates.heard();
        let mut endpoints = self.site.endpoints.clone();
        endpoints.extend(heard);
        if endpoints == self.site.endpoints {
            return;
        }
        for (bridge, endpoint) in &endpoints {
            if self.site.endpoints.get(bridge) != Some(endpoint) {
                say::line(&format!("{bridge}: the other end is {endpoint} from here on"));
            }
        }
        if let Err(error) = straddle_kernel::endpoints::write(&self.place.state_dir, &endpoints) {
            return say::aside(&render::complaint(&error.into()));
        }
        self.look_again();
    }

    fn repair(&mut self) -> Result<(), Complaint> {
        let look = self.site.look(self.place)?;
        if look.steps().map_err(Complaint::Conflicts)?.is_empty() {
            self.plan = look.plan;
            return Ok(());
        }
        say::line("something changed on this host; bringing it back in step:");
        // An address that was never lent before is still guarded: sessions may arrive at it.
        self.plan = raise(&mut self.site, self.place, false)?.plan;
        Ok(())
    }

    /// What the network offers has changed: the loops translate by it from here on.
    fn take_prefixes(&mut self) {
        let found = self.discovery.found();
        for bridge in self.serving.bridges() {
            let prefixes = |found: &Found| {
                let state = found.get(&bridge.name);
                state.and_then(|state| state.found.as_ref()).map(|found| found.prefixes.clone())
            };
            let (before, now) = (prefixes(&self.found), prefixes(&found));
            if before != now {
                say::line(&render::prefixes(&bridge.name, found.get(&bridge.name)));
                self.serving.tell(bridge, &found);
            }
        }
        self.found = found;
    }

    /// Reads the file anew.
    fn reload(&mut self) {
        drain(&self.reload);
        match Site::open(self.place) {
            Ok(site) => {
                self.site = site;
                self.look_again();
                // Keys may be others.
                self.update_anew();
                say::line(&format!("read {} anew", self.place.config.display()));
            }
            Err(complaint) => say::aside(&render::complaint(&complaint)),
        }
    }

    /// Serves what there is by now; what can't be is tried again when something changes. A search that goes on
    /// keeps what it has found.
    fn serve(&mut self) {
        let wanted: Vec<&Bridge> = self.plan.served().collect();
        for complaint in self.serving.change(&wanted, &self.found) {
            say::aside(&render::complaint(&complaint));
        }
        let served: Vec<&Bridge> = self.serving.bridges().collect();
        if self.discovery.suits(&served) {
            return;
        }
        match Discovery::begin(&served) {
            Ok(discovery) => (self.discovery, self.found) = (discovery, Found::new()),
            Err(complaint) => say::aside(&render::complaint(&complaint)),
        }
    }
}

fn wait_for(fds: &mut [PollFd<'_>], timeout: Duration) -> Result<(), Complaint> {
    let timeout =
        Timespec { tv_sec: timeout.as_secs().cast_signed(), tv_nsec: timeout.subsec_nanos().into() };
    match poll(fds, Some(&timeout)) {
        Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
        Err(errno) => Err(Complaint::Other {
            message: format!("poll: {errno}"),
            help: "this is a mistake of straddle: please tell its makers".into(),
        }),
    }
}

fn signals(which: &[i32]) -> Result<UnixStream, Complaint> {
    let open = || -> std::io::Result<UnixStream> {
        let (told, tell) = UnixStream::pair()?;
        for signal in which {
            signal_hook::low_level::pipe::register(*signal, tell.try_clone()?)?;
        }
        told.set_nonblocking(true)?;
        Ok(told)
    };
    open().map_err(|error| Complaint::Other {
        message: format!("signals can't be heard: {error}"),
        help: "is the limit of open files reached? see `ulimit -n`".into(),
    })
}

fn is_readable(fd: impl AsFd) -> bool {
    let mut fds = [PollFd::new(&fd, PollFlags::IN)];
    matches!(poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })), Ok(1..))
}

fn drain(signals: &UnixStream) {
    let mut room = [0; 64];
    while matches!(std::io::Read::read(&mut &*signals, &mut room), Ok(1..)) {}
}

fn served<'a>(bridges: impl Iterator<Item = &'a Bridge>) -> String {
    let names: Vec<&str> = bridges.map(|bridge| bridge.name.as_str()).collect();
    if names.is_empty() { "nothing".into() } else { names.join(", ") }
}

/// Where there is no systemd nobody listens.
fn tell_systemd(state: sd_notify::NotifyState<'_>) {
    let _ = sd_notify::notify(&[state]);
}
