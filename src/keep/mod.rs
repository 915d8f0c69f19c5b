//! The running straddle: up, serve, and whenever the kernel says that something changed, look again.

mod answering;
mod discovery;
mod files;
mod relaying;
mod runner;
mod service;
mod serving;
mod updates;
mod watching;

pub(crate) use runner::runner;
pub(crate) use service::{Service, ask};

use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use straddle_intent::object::FastPath;
use straddle_intent::plan::{Bridge, Plan, Via};
use straddle_kernel::{Turn, Watch};

use crate::cli::Place;
use crate::commands::raise;
use crate::complaint::Complaint;
use crate::render;
use crate::say;
use crate::site::Site;

use answering::Answering;
use discovery::{Discovery, Found};
use relaying::Relaying;
use service::Door;
use serving::Serving;
use updates::Updates;

/// How long changes of the kernel may come one after another before they are looked at.
const SETTLE: Duration = Duration::from_millis(100);
/// What tells nobody when it changes (most sysctls, proxy entries that went) is looked at this often.
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
    relaying: Relaying,
    discovery: Discovery,
    /// What it has found, as told to the loops.
    found: Found,
    updates: Updates,
    answering: Answering,
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
    Rung,
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
        let served: Vec<&Bridge> = with_device(&plan).collect();
        let (mut serving, found) = (Serving::default(), Found::new());
        if let Some(complaint) = serving.change(&served, &found).into_iter().next() {
            return Err(complaint);
        }
        let discovery = Discovery::begin(&served)?;
        // One port that is taken is no reason to leave the rest of the host unserved.
        let mut updates = Updates::new(&site.endpoints)?;
        updates.change(&plan);
        let mut answering = Answering::default();
        aside(answering.change(plan.answers.as_ref()).err());
        let mut relaying = Relaying::begin()?;
        aside(relaying.change(plan.served()).err());
        aside(watching::vouch(&mut site.kernel, &plan).err());
        Ok(Keeper {
            place,
            site,
            plan,
            discovery,
            found,
            updates,
            answering,
            serving,
            relaying,
            watch,
            door,
            end,
            reload,
            _lock: lock,
        })
    }

    /// Serves until told to end. The host stays as it is then: `down` takes it back.
    pub(crate) fn stay(mut self) -> Result<(), Complaint> {
        say::line(&format!("ready: {} of host {}", duty(&self.plan), self.plan.host));
        tell_systemd(sd_notify::NotifyState::Ready);
        loop {
            match self.wait()? {
                Woken::End => break,
                Woken::Asked => self.answer(),
                Woken::Reload => self.reload(),
                Woken::Found => self.take_prefixes(),
                Woken::Told => self.take_endpoints(),
                Woken::Rung => self.tell(),
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
        aside(watching::withdraw(&mut self.site.kernel, &self.plan).err());
        self.drain()?;
        say::line("ended; the host stays as it is: take it back with `straddle down`");
        Ok(())
    }

    fn wait(&mut self) -> Result<Woken, Complaint> {
        let mut fds = vec![
            self.end.as_fd(),
            self.reload.as_fd(),
            self.door.fd(),
            self.relaying.bell(),
            self.discovery.fd(),
            self.updates.fd(),
            self.watch.fd(),
        ];
        fds.push(self.relaying.ended());
        fds.extend(self.answering.ended());
        fds.extend(self.serving.ended());
        let mut fds: Vec<PollFd<'_>> =
            fds.into_iter().map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)).collect();
        wait_for(&mut fds, ROUND)?;
        let woken: Vec<bool> = fds.iter().map(|fd| !fd.revents().is_empty()).collect();
        let [end, reload, asked, bell, found, told, changed, ended @ ..] = woken.as_slice() else {
            return Ok(Woken::Changed);
        };
        let (end, reload, asked, changed) = (*end, *reload, *asked, *changed);
        let ended = ended.contains(&true);
        if (*found || *told || *bell) && !(end || reload || asked || ended) {
            return Ok(match (found, told) {
                (true, _) => Woken::Found,
                (false, true) => Woken::Told,
                (false, false) => Woken::Rung,
            });
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
        let repaired = self.repair();
        let kernel = &mut self.site.kernel;
        aside(match repaired {
            Ok(()) => watching::vouch(kernel, &self.plan).err().into_iter().collect(),
            Err(complaint) => {
                let withdrawn = watching::withdraw(kernel, &self.plan).err();
                [complaint].into_iter().chain(withdrawn).collect::<Vec<_>>()
            }
        });
        self.tell_what_is_known();
        drop(turn);
        self.updates.change(&self.plan);
        aside(self.relaying.change(self.plan.served()).err());
        self.serve();
    }

    /// What another host has told is remembered, then the plan follows it.
    fn take_endpoints(&mut self) {
        if self.updates.ended() {
            self.updates.change(&self.plan);
        }
        for (bridge, trouble) in self.updates.troubles() {
            match trouble {
                Some(trouble) => say::aside(&(render::warning(&format!("{bridge}: {trouble}")) + "\n")),
                None => say::line(&format!("{bridge}: the other end acknowledges this host's endpoint")),
            }
        }
        let endpoints = self.updates.heard();
        if endpoints == self.site.endpoints {
            return;
        }
        for (bridge, endpoint) in &endpoints {
            if self.site.endpoints.get(bridge) != Some(endpoint) {
                say::line(&format!("{bridge}: the other end is {endpoint} from here on"));
            }
        }
        if let Err(error) = straddle_kernel::endpoints::write(&self.place.state_dir, &endpoints) {
            say::aside(&render::complaint(&error.into()));
        }
        // It counts from here on, whether the disk has it or not.
        self.site.heard = endpoints;
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
        let mut changed = Vec::new();
        for bridge in self.serving.bridges() {
            let Via::Translator(translator) = &bridge.via else { continue };
            let prefixes = |found: &Found| {
                let state = found.get(&bridge.name);
                state.and_then(|state| state.found.as_ref()).map(|found| found.prefixes.clone())
            };
            let (before, now) = (prefixes(&self.found), prefixes(&found));
            if before != now {
                say::line(&render::prefixes(&bridge.name, found.get(&bridge.name)));
                self.serving.tell(bridge, &found);
                let config = serving::config(&bridge.name, translator, &found);
                changed.push((translator.device.clone(), config));
            }
        }
        self.found = found;
        for (device, config) in changed {
            self.tell_kernel(&device, &config);
        }
    }

    /// The kernel's programs translate by what the loops do. Where nothing was found yet they keep what a
    /// straddle before this one has told them: connections go on.
    fn tell_what_is_known(&mut self) {
        let known = |bridge: &Bridge| self.found.get(&bridge.name).is_some_and(|state| state.found.is_some());
        let told = self.plan.bridges.iter().filter(|bridge| known(bridge)).filter_map(|bridge| {
            let Via::Translator(translator) = &bridge.via else { return None };
            let config = serving::config(&bridge.name, translator, &self.found);
            translator.discovers.as_ref().map(|_| (translator.device.clone(), config))
        });
        for (device, config) in told.collect::<Vec<_>>() {
            self.tell_kernel(&device, &config);
        }
    }

    fn tell_kernel(&mut self, device: &str, config: &straddle_xlat::Config) {
        if let Err(error) = self.site.kernel.tell(&FastPath::new(device, config)) {
            say::aside(&render::complaint(&error.into()));
        }
    }

    fn answer(&self) {
        let counters = self.serving.report(&self.found).into_iter().chain(self.relaying.report());
        self.door.answer(&Service {
            pid: std::process::id(),
            counters: counters.collect(),
            updates: self.updates.report(),
            neighbours: self.answering.report(),
            drains: self.relaying.drain_time().as_secs(),
        });
    }

    /// What the relays' loops have to say.
    fn tell(&self) {
        for alert in self.relaying.alerts() {
            say::aside(&render::alert(&alert, files::allowed()));
        }
    }

    /// Lets what goes through relays come to its end; carriers and translators go on meanwhile. A second signal
    /// ends it.
    fn drain(&mut self) -> Result<(), Complaint> {
        drain(&self.end);
        self.relaying.drain();
        if self.relaying.open() > 0 {
            say::line(&render::draining(self.relaying.open(), self.relaying.drain_time()));
        }
        while self.relaying.open() > 0 {
            let fds = [self.end.as_fd(), self.door.fd(), self.relaying.bell()];
            let mut fds = fds.map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN));
            wait_for(&mut fds, ROUND)?;
            let [end, asked, bell] = fds.map(|fd| !fd.revents().is_empty());
            if end {
                break;
            }
            if asked {
                self.answer();
            }
            if bell {
                self.tell();
            }
        }
        Ok(())
    }

    /// Reads the file anew.
    fn reload(&mut self) {
        drain(&self.reload);
        match Site::open(self.place) {
            Ok(mut site) => {
                site.heard = std::mem::take(&mut self.site.heard);
                self.site = site;
                self.updates.read_anew();
                self.look_again();
                say::line(&format!("read {} anew", self.place.config.display()));
            }
            Err(complaint) => say::aside(&render::complaint(&complaint)),
        }
    }

    /// Serves what there is by now; what can't be is tried again when something changes. A search that goes on
    /// keeps what it has found.
    fn serve(&mut self) {
        if is_readable(self.relaying.ended()) {
            self.relay_anew();
        }
        let wanted: Vec<&Bridge> = with_device(&self.plan).collect();
        aside(self.serving.change(&wanted, &self.found));
        aside(self.answering.change(self.plan.answers.as_ref()).err());
        let served: Vec<&Bridge> = self.serving.bridges().collect();
        if self.discovery.suits(&served) {
            return;
        }
        match Discovery::begin(&served) {
            Ok(discovery) => (self.discovery, self.found) = (discovery, Found::new()),
            Err(complaint) => say::aside(&render::complaint(&complaint)),
        }
    }

    /// A loop of the relays has ended by itself.
    fn relay_anew(&mut self) {
        let begun = Relaying::begin().and_then(|relaying| {
            self.relaying = relaying;
            self.relaying.change(self.plan.served())
        });
        aside(begun.err());
    }
}

/// What can't be done is told, and the rest goes on.
fn aside(complaints: impl IntoIterator<Item = Complaint>) {
    for complaint in complaints {
        say::aside(&render::complaint(&complaint));
    }
}

/// The bridges whose packets come from a device; the others are served by the relays' loops.
fn with_device(plan: &Plan) -> impl Iterator<Item = &Bridge> {
    plan.served().filter(|bridge| bridge.device().is_some())
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

/// What it stays for: to serve, and to keep in step what needs no serving.
fn duty(plan: &Plan) -> String {
    let names = |served: bool| {
        let those = plan.bridges.iter().filter(|bridge| bridge.is_served() == served);
        those.map(|bridge| bridge.name.as_str()).collect::<Vec<_>>().join(", ")
    };
    match (names(true), names(false)) {
        (served, kept) if served.is_empty() && kept.is_empty() => "serving nothing".into(),
        (served, kept) if kept.is_empty() => format!("serving {served}"),
        (served, kept) if served.is_empty() => format!("keeping {kept} in step"),
        (served, kept) => format!("serving {served}, keeping {kept} in step"),
    }
}

/// Where there is no systemd nobody listens.
fn tell_systemd(state: sd_notify::NotifyState<'_>) {
    let _ = sd_notify::notify(&[state]);
}
