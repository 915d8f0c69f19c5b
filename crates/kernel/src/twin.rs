//! The kernel's twin in memory: the same seam, for tests that fail or die at every step.

use straddle_intent::object::{Address, Displaced, FastPath, Key, Object, Origin, SysctlKey};
use straddle_intent::snapshot::Snapshot;
use straddle_intent::step::Step;

use crate::{Error, Kernel};

/// A kernel that is a snapshot.
#[derive(Clone, Debug, Default)]
pub struct Twin {
    /// Its state.
    pub state: Snapshot,
    /// Refuses the step after this many.
    pub fails_after: Option<usize>,
}

impl Twin {
    /// A kernel in this state that refuses nothing.
    pub fn new(state: Snapshot) -> Twin {
        Twin { state, fails_after: None }
    }

    fn create(&mut self, object: &Object) {
        let state = &mut self.state;
        match object {
            Object::Link(link) => state.links.push(link.clone()),
            Object::Address(address) => state.addresses.push(address.clone()),
            Object::Route(route) => state.routes.push(route.clone()),
            Object::Rule(rule) => state.rules.push(rule.clone()),
            Object::Neighbour(neighbour) => {
                state.neighbours.retain(|n| Object::Neighbour(n.clone()).key() != object.key());
                state.neighbours.push(neighbour.clone());
            }
            Object::Filter(filter) => {
                state.filter = Some(filter.rules.iter().map(ToString::to_string).collect())
            }
            // The kernel does not tell what a program was told, and one that was told nothing is none.
            Object::FastPath(fast) => {
                state.fast.retain(|other| (&other.dev, &other.hook) != (&fast.dev, &fast.hook));
                state.fast.extend(fast.task.is_some().then(|| FastPath { task: None, ..fast.clone() }));
            }
        }
    }

    fn remove(&mut self, key: &Key, object: &Object) {
        let state = &mut self.state;
        state.addresses.retain(|a| Object::Address(a.clone()).key() != *key);
        state.routes.retain(|r| Object::Route(r.clone()).key() != *key);
        state.rules.retain(|r| Object::Rule(r.clone()).key() != *key);
        state.neighbours.retain(|n| Object::Neighbour(n.clone()).key() != *key);
        state.fast.retain(|f| Object::FastPath(f.clone()).key() != *key);
        match object {
            Object::Filter(_) => state.filter = None,
            Object::Link(link) => {
                let gone = |dev: &str| dev == link.name;
                state.links.retain(|l| !gone(&l.name));
                state.addresses.retain(|a| !gone(&a.dev));
                state.routes.retain(|r| !r.leaves_by(&link.name));
                state.neighbours.retain(|n| !gone(&n.dev));
                state.fast.retain(|f| !gone(&f.dev) && !gone(f.serves()));
                state.sysctls.retain(|key, _| !key.device().is_some_and(gone));
            }
            Object::Address(_)
            | Object::Route(_)
            | Object::Rule(_)
            | Object::Neighbour(_)
            | Object::FastPath(_) => {}
        }
    }

    /// As the kernel: with the last address of a device go its routes and neighbours. As the live
    /// kernel's step: what does not depend on the address comes back.
    fn vacate(&mut self, displaced: &Displaced) -> Displaced {
        let Some(record) = displaced.record().cloned() else { return displaced.clone() };
        let lost: Vec<_> = self.state.routes_lost_with(&record).into_iter().cloned().collect();
        let stays = |route: &&straddle_intent::object::Route| {
            route.onlink && route.source != Some(displaced.address.into()) || route.origin == Origin::Straddle
        };
        let lost: Vec<_> = lost.iter().filter(|route| !stays(route)).cloned().collect();
        self.state.routes.retain(|route| !lost.contains(route));
        self.state.addresses.retain(|address| !address.same_as(&record));
        let alone = self.state.ipv4_of(&displaced.dev).next().is_none();
        self.state
            .neighbours
            .retain(|n| !(alone && n.dev == displaced.dev && n.address.is_ipv4() && !n.lasts()));
        Displaced { routes: lost, ..displaced.clone() }
    }

    fn reinstate(&mut self, displaced: &Displaced) {
        let device = |address: &&Address| address.dev == displaced.dev && address.net.addr().is_ipv4();
        let present: Vec<Address> = self.state.addresses.iter().filter(device).cloned().collect();
        let here = |address: &&Address| {
            address.net.addr() == displaced.address || present.iter().any(|held| held.same_as(address))
        };
        let mut ordered: Vec<Address> = displaced.addresses.iter().filter(here).cloned().collect();
        ordered.extend(present.iter().filter(|p| !displaced.addresses.iter().any(|a| a.same_as(p))).cloned());
        self.state.addresses.retain(|address| !device(&address));
        self.state.addresses.extend(ordered);
        for route in displaced.routes.iter().filter(|route| route.origin != Origin::Straddle) {
            if !self.state.routes.contains(route) {
                self.state.routes.push(route.clone());
            }
        }
    }
}

impl Kernel for Twin {
    fn observe(&mut self, _sysctls: &[SysctlKey]) -> Result<Snapshot, Error> {
        Ok(self.state.clone())
    }

    fn execute(&mut self, step: &Step) -> Result<Step, Error> {
        if let Some(left) = &mut self.fails_after {
            if *left == 0 {
                self.fails_after = None;
                return Err(Error::NoDevice("the step that fails".into()));
            }
            *left -= 1;
        }
        match step {
            Step::Create(object) => self.create(object),
            Step::Remove(object) => self.remove(&object.key(), object),
            Step::Change { from, to } => {
                self.remove(&from.key(), from);
                self.create(to);
            }
            Step::Set(setting) => {
                self.state.sysctls.insert(setting.key.clone(), setting.to.clone());
            }
            Step::Vacate(displaced) => return Ok(Step::Vacate(self.vacate(displaced))),
            Step::Reinstate(displaced) => self.reinstate(displaced),
        }
        Ok(step.clone())
    }
}
