//! The live kernel of this network namespace.

use std::collections::BTreeMap;
use std::time::Duration;

use ipnet::Ipv6Net;
use straddle_intent::object::{
    Address, Displaced, Diversion, FastPath, Filter, FilterRule, Neighbour, Object, Origin, Route, SysctlKey,
};
use straddle_intent::snapshot::Snapshot;
use straddle_intent::step::Step;

use crate::fast::{self, Counts, Together, Watch};
use crate::netlink::conntrack::{self, Flow};
use crate::netlink::counters::{self, Counters};
use crate::netlink::{Names, Socket, address, index, link, neighbour, route, rule};
use crate::{Error, Kernel, nft, sysctl};

/// The live kernel.
pub struct Live {
    socket: Socket,
}

impl Live {
    /// Opens the way to the kernel of this network namespace.
    ///
    /// # Errors
    /// When there is no rtnetlink.
    pub fn open() -> Result<Live, Error> {
        Ok(Live { socket: Socket::open()? })
    }

    /// Devices, addresses and routes alone: whose host this is, and what it sees. Needs no rights.
    ///
    /// # Errors
    /// When the kernel can't be asked.
    pub fn addresses(&mut self) -> Result<Snapshot, Error> {
        let (links, names) = link::dump(&mut self.socket)?;
        let addresses = address::dump(&mut self.socket, &names)?;
        let routes = route::dump(&mut self.socket, &names)?;
        Ok(Snapshot { links, addresses, routes, ..Snapshot::default() })
    }

    /// What each of these devices has carried, by its name; one that is missing is left out.
    ///
    /// # Errors
    /// When the kernel can't be asked.
    pub fn counters(&mut self, devices: &[&str]) -> Result<Vec<(String, Counters)>, Error> {
        counters::read(&mut self.socket, devices)
    }

    /// How many packets each rule of ours that counts has met, by its comment.
    ///
    /// # Errors
    /// When nft can't be asked.
    pub fn counted(&self) -> Result<Vec<(String, u64)>, Error> {
        nft::counted()
    }

    /// A device's link-layer address; empty where it has none.
    ///
    /// # Errors
    /// When the kernel can't be asked.
    pub fn hardware(&mut self, dev: &str) -> Result<Vec<u8>, Error> {
        link::hardware(&mut self.socket, dev)
    }

    /// Has the program in front of a device translate by what was discovered since the plan was made; where there
    /// is none, nothing. No packet is lost.
    ///
    /// # Errors
    /// When the kernel refuses; then the program is as it was.
    pub fn tell(&mut self, known: &FastPath) -> Result<(), Error> {
        let names = self.names()?;
        fast::tell(&mut self.socket, &names, known)
    }

    /// What the program in front of a device has counted; none where there is none.
    ///
    /// # Errors
    /// When the kernel can't be asked.
    pub fn fast(&mut self, dev: &str) -> Result<Option<Counts>, Error> {
        let names = self.names()?;
        fast::counts(&mut self.socket, dev, &names)
    }

    /// What the program behind `uplink` that goes past a translator's device has counted; none where there is none.
    ///
    /// # Errors
    /// When the kernel can't be asked.
    pub fn direct(&mut self, uplink: &str, dev: &str) -> Result<Option<Counts>, Error> {
        let names = self.names()?;
        fast::direct_counts(&mut self.socket, (uplink, dev), &names)
    }

    /// Tells programs that go past a device of ours that somebody watches the host for a while, and how many
    /// chains of ours stand at the forward hook; none where a packet must meet one.
    ///
    /// # Errors
    /// When the kernel can't be asked or does not take it.
    pub fn watched<'a>(
        &mut self,
        mut programs: impl Iterator<Item = &'a FastPath>,
        chains: Option<u32>,
        lasts: Duration,
    ) -> Result<(), Error> {
        let (links, names) = link::dump(&mut self.socket)?;
        let ours = links.iter().filter(|link| link.bridge.is_some());
        let devices = ours.map(|link| index(&names, &link.name)).collect::<Result<_, _>>()?;
        let routes = route::dump(&mut self.socket, &names)?;
        let mtu =
            routes.iter().filter(|route| route.dst.addr().is_ipv4()).filter_map(|route| route.mtu).min();
        let watch = Watch { lasts, chains, mtu, devices };
        programs.try_for_each(|program| fast::watched(&mut self.socket, program, &watch, &names))
    }

    /// What a carrier's programs have counted, at its device and behind its uplink; none where there is neither.
    /// Beside it, of each client that shares the device what went outward and inward; `clients` has of each the
    /// first network.
    ///
    /// # Errors
    /// When the kernel can't be asked.
    pub fn carried(
        &mut self,
        (dev, uplink): (&str, &str),
        clients: &[Ipv6Net],
    ) -> Result<Option<Together>, Error> {
        let names = self.names()?;
        fast::carried(&mut self.socket, (dev, uplink), clients, &names)
    }

    fn names(&mut self) -> Result<Names, Error> {
        link::dump(&mut self.socket).map(|(_, names)| names)
    }

    fn create(&mut self, object: &Object) -> Result<(), Error> {
        let names = names_of(object)?;
        let socket = &mut self.socket;
        match object {
            Object::Link(wanted) => link::create(socket, wanted),
            Object::Address(wanted) => address::add(socket, wanted, &names),
            Object::Route(wanted) => route::add(socket, wanted, &names),
            Object::Rule(wanted) => rule::add(socket, wanted),
            Object::Neighbour(wanted) => neighbour::add(socket, wanted, &names),
            Object::Filter(wanted) => filtered(Some(wanted)),
            Object::FastPath(wanted) => fast::put(socket, wanted, &names),
        }
    }

    /// What is gone already is as good as deleted.
    fn remove(&mut self, object: &Object) -> Result<(), Error> {
        let names = names_of(object)?;
        let socket = &mut self.socket;
        let done = match object {
            Object::Link(unwanted) => link::delete(socket, unwanted),
            Object::Address(unwanted) => address::delete(socket, unwanted, &names),
            Object::Route(unwanted) => route::delete(socket, unwanted, &names),
            Object::Rule(unwanted) => rule::delete(socket, unwanted),
            Object::Neighbour(unwanted) => neighbour::delete(socket, unwanted, &names),
            Object::Filter(_) => filtered(None),
            Object::FastPath(unwanted) => fast::remove(socket, unwanted, &names),
        };
        match done {
            Err(Error::NoDevice(_)) => Ok(()),
            Err(error)
                if [libc::ESRCH, libc::ENOENT, libc::EADDRNOTAVAIL, libc::ENODEV]
                    .iter()
                    .any(|&e| error.is(e)) =>
            {
                Ok(())
            }
            other => other,
        }
    }

    fn change(&mut self, from: &Object, to: &Object) -> Result<(), Error> {
        let names = names_of(to)?;
        match to {
            Object::Link(wanted) => link::set(&mut self.socket, wanted),
            Object::Route(wanted) => route::replace(&mut self.socket, wanted, &names),
            Object::Neighbour(wanted) => neighbour::add(&mut self.socket, wanted, &names),
            Object::Filter(wanted) => filtered(Some(wanted)),
            Object::FastPath(wanted) => fast::put(&mut self.socket, wanted, &names),
            Object::Address(_) => Ok(()),
            // Added before the other goes: no packet finds neither.
            Object::Rule(wanted) => {
                rule::add(&mut self.socket, wanted)?;
                self.remove(from)
            }
        }
    }

    /// Takes the address away; what goes along and does not depend on it comes back at once.
    fn vacate(&mut self, displaced: &Displaced) -> Result<Displaced, Error> {
        let names = self.names()?;
        let before = route::dump(&mut self.socket, &names)?;
        let others = address::dump(&mut self.socket, &names)?;
        if let Some(record) = displaced.record() {
            address::delete(&mut self.socket, record, &names)?;
        }
        // Those that are there still; what left before, for another bridge, is not among them.
        let here = |held: &&Address| held.dev == displaced.dev && held.net.addr().is_ipv4();
        let others = others.iter().filter(here).filter(|held| held.net.addr() != displaced.address);
        self.readdress(others, &names)?;
        let staying =
            |route: &&Route| route.source != Some(displaced.address.into()) && !comes_with_address(route);
        for missing in self.missing(before.iter().filter(staying), &names)? {
            // A route that can't be without the address is what the address takes along.
            let _ = route::restore(&mut self.socket, &missing, &names);
        }
        self.befriend(&displaced.neighbours, &names)?;
        let theirs =
            before.iter().filter(|route| route.origin != Origin::Straddle && !comes_with_address(route));
        let lost = self.missing(theirs, &names)?;
        let kept = displaced.neighbours.iter().filter(|known| known.origin != Origin::Straddle);
        Ok(Displaced { routes: lost, neighbours: kept.cloned().collect(), ..displaced.clone() })
    }

    /// Puts the address back in its place among the device's, then whatever is missing of what was there.
    fn reinstate(&mut self, displaced: &Displaced) -> Result<(), Error> {
        let names = self.names()?;
        let before = route::dump(&mut self.socket, &names)?;
        let all = address::dump(&mut self.socket, &names)?;
        let present: Vec<&Address> =
            all.iter().filter(|held| held.dev == displaced.dev && held.net.addr().is_ipv4()).collect();
        let wanted = order(displaced, &present);
        let same = present.iter().zip(&wanted).take_while(|(held, wanted)| held.same_as(wanted)).count();
        for held in present.iter().skip(same).rev() {
            match address::delete(&mut self.socket, held, &names) {
                // Secondary addresses go with their primary one.
                Err(error) if error.is(libc::EADDRNOTAVAIL) => {}
                other => other?,
            }
        }
        self.readdress(wanted.into_iter().skip(same), &names)?;
        let ours = |route: &&Route| route.origin == Origin::Straddle;
        let theirs = displaced.routes.iter().filter(|route| !ours(route) && !comes_with_address(route));
        // The kernel makes the routes of an address itself, each with the address as its source.
        let made = |route: &&Route| route.origin == Origin::Kernel && route.source.is_some();
        let before = before.iter().filter(|route| !made(route));
        for missing in self.missing(before.chain(theirs), &names)? {
            route::restore(&mut self.socket, &missing, &names)?;
        }
        let theirs: Vec<Neighbour> =
            displaced.neighbours.iter().filter(|known| known.origin != Origin::Straddle).cloned().collect();
        self.befriend(&theirs, &names)
    }

    /// Adds those addresses that are not there, in order.
    fn readdress<'a>(
        &mut self,
        wanted: impl Iterator<Item = &'a Address>,
        names: &Names,
    ) -> Result<(), Error> {
        let present = address::dump(&mut self.socket, names)?;
        for address in wanted.filter(|address| !present.iter().any(|held| held.same_as(address))) {
            address::add(&mut self.socket, address, names)?;
        }
        Ok(())
    }

    /// Those IPv4 routes that are not there, what is reached directly before what is reached through it.
    fn missing<'a>(
        &mut self,
        wanted: impl Iterator<Item = &'a Route>,
        names: &Names,
    ) -> Result<Vec<Route>, Error> {
        let present = route::dump(&mut self.socket, names)?;
        let mut missing: Vec<Route> = Vec::new();
        for route in wanted.filter(|route| route.dst.addr().is_ipv4()) {
            if !present.contains(route) && !missing.contains(route) {
                missing.push(route.clone());
            }
        }
        missing.sort_by_key(|route| route.gateway.is_some() || !route.hops.is_empty());
        Ok(missing)
    }

    /// Adds those lasting neighbour entries that are not there.
    fn befriend(&mut self, wanted: &[Neighbour], names: &Names) -> Result<(), Error> {
        let present = neighbour::dump(&mut self.socket, names)?;
        for entry in wanted.iter().filter(|entry| entry.lasts()) {
            if !present.iter().any(|known| known.same_as(entry)) {
                neighbour::add(&mut self.socket, entry, names)?;
            }
        }
        Ok(())
    }
}

/// Loads our table, or deletes it. Flows for which something else holds from then on are forgotten: the kernel asks
/// NAT for the first packet alone.
fn filtered(wanted: Option<&Filter>) -> Result<(), Error> {
    let diversions =
        |rules: &[String]| rules.iter().filter_map(|rule| Diversion::read(rule)).collect::<Vec<_>>();
    let before = diversions(&nft::read()?.unwrap_or_default());
    match wanted {
        Some(filter) => nft::load(filter)?,
        None => nft::delete()?,
    }
    let rules = wanted.map(|filter| filter.rules.iter().map(FilterRule::to_string).collect::<Vec<_>>());
    let after = diversions(&rules.unwrap_or_default());
    let begun: Vec<_> = after.iter().filter(|diversion| !before.contains(diversion)).collect();
    let ended: Vec<_> = before.iter().filter(|diversion| !after.contains(diversion)).collect();
    if !begun.is_empty() || !ended.is_empty() {
        forget(|flow| {
            begun.iter().any(|diversion| flow.precedes(diversion))
                || ended.iter().any(|diversion| flow.outlives(diversion))
        });
    }
    Ok(())
}

/// What was asked for is done already: a flow that can't be forgotten ends by itself, later.
fn forget(meant: impl Fn(&Flow) -> bool) {
    let _ = conntrack::forget(meant);
}

/// The devices that an object stands on: there may be thousands of others.
fn names_of(object: &Object) -> Result<Names, Error> {
    let hops: Vec<&str> = match object {
        Object::Route(route) => route.devices().collect(),
        Object::FastPath(program) => vec![program.serves()],
        Object::Link(_) | Object::Address(_) | Object::Rule(_) | Object::Neighbour(_) | Object::Filter(_) => {
            Vec::new()
        }
    };
    let mut names = Names::new();
    for dev in object.device().into_iter().chain(hops) {
        match link::index(dev) {
            Ok(index) => {
                names.insert(index, dev.to_string());
            }
            Err(Error::NoDevice(_)) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(names)
}

/// The kernel makes and deletes the routes of its local table together with addresses, by itself. A
/// secondary address's is marked by its primary one, so the source does not tell whose it is.
fn comes_with_address(route: &Route) -> bool {
    route.origin == Origin::Kernel && route.table == LOCAL
}

/// `RT_TABLE_LOCAL`.
const LOCAL: u32 = 255;

/// The order of before for those that are there or come back, then whoever came since.
fn order<'a>(displaced: &'a Displaced, present: &[&'a Address]) -> Vec<&'a Address> {
    let here = |address: &&Address| {
        address.net.addr() == displaced.address || present.iter().any(|held| held.same_as(address))
    };
    let known = displaced.addresses.iter().filter(here);
    let since =
        present.iter().copied().filter(|held| !displaced.addresses.iter().any(|known| known.same_as(held)));
    known.chain(since).collect()
}

impl Kernel for Live {
    fn observe(&mut self, sysctls: &[SysctlKey]) -> Result<Snapshot, Error> {
        let (links, names) = link::dump(&mut self.socket)?;
        let mut values = BTreeMap::new();
        for key in sysctls {
            if let Some(value) = sysctl::read(key)? {
                values.insert(key.clone(), value);
            }
        }
        let [barriers, input_barriers] = nft::barriers()?;
        Ok(Snapshot {
            addresses: address::dump(&mut self.socket, &names)?,
            routes: route::dump(&mut self.socket, &names)?,
            rules: rule::dump(&mut self.socket)?,
            neighbours: neighbour::dump(&mut self.socket, &names)?,
            filter: nft::read()?,
            fast: fast::dump(&mut self.socket, &links, &names)?,
            barriers,
            input_barriers,
            sysctls: values,
            links,
        })
    }

    fn execute(&mut self, step: &Step) -> Result<Step, Error> {
        match step {
            Step::Create(object) => self.create(object)?,
            Step::Remove(object) => self.remove(object)?,
            Step::Change { from, to } => self.change(from, to)?,
            Step::Set(setting) => sysctl::set(setting)?,
            Step::Vacate(displaced) => {
                let displaced = self.vacate(displaced)?;
                forget(|flow| flow.concerns(displaced.address));
                return Ok(Step::Vacate(displaced));
            }
            Step::Reinstate(displaced) => {
                self.reinstate(displaced)?;
                forget(|flow| flow.concerns(displaced.address));
            }
        }
        Ok(step.clone())
    }
}
