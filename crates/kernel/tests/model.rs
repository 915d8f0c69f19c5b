//! Ring 3: every golden plan, failed and killed at every step, on the kernel's twin in memory.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on fails")]

use std::fs;
use std::path::{Path, PathBuf};

use straddle_intent::diff::diff;
use straddle_intent::memory::Memory;
use straddle_intent::model;
use straddle_intent::object::{Link, LinkKind, Object};
use straddle_intent::plan::{Endpoints, Facts, Offers, Plan, plan};
use straddle_intent::site::{check, identify};
use straddle_intent::snapshot::Snapshot;
use straddle_intent::step::Step;
use straddle_kernel::{Kernel, Twin, apply, settle};

/// A host of a golden case, with what its file wants of it.
struct Story {
    name: String,
    model: model::Model,
    host: String,
    start: Snapshot,
    offers: Offers,
    endpoints: Endpoints,
}

fn stories() -> Vec<Story> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../intent/tests/cases");
    let mut cases: Vec<PathBuf> = fs::read_dir(root).unwrap().map(|entry| entry.unwrap().path()).collect();
    cases.sort();
    let stories: Vec<Story> = cases.iter().filter_map(|case| story(case)).collect();
    assert!(stories.len() >= 12, "only {} golden plans were found", stories.len());
    stories
}

fn story(case: &Path) -> Option<Story> {
    let live = fs::read_to_string(case.join("live.toml")).ok()?;
    let start: Snapshot = toml::from_str(&live).unwrap();
    let model = model::read(&fs::read_to_string(case.join("config.toml")).unwrap()).unwrap();
    let host = identify(&model, None, &start).ok()?;
    // Where something of ours is there already, `down` does not lead back to where the story begins.
    start.ours().is_empty().then_some(())?;
    let has = fs::read_to_string(case.join("kernel-has")).unwrap_or_default();
    let why = |word| (!has.lines().any(|line| line == word)).then(|| "none here".to_string());
    let carrier = [Offers::FAST_OUTWARD, Offers::FAST_INWARD, Offers::FAST_LENDER];
    let fast = [Offers::FAST_PATH, Offers::FAST_DIRECT, Offers::TCX].into_iter().chain(carrier);
    let words = ["ip6gre", "ip6tnl", "sit"].into_iter().chain(fast);
    let offers = Offers(words.map(|word| (word, why(word))).collect());
    check(&model, host, &start, &offers).is_empty().then_some(())?;
    let host = host.name.clone();
    let told = fs::read_to_string(case.join("endpoints")).unwrap_or_default();
    let told = told.lines().filter_map(|line| line.split_once(' '));
    let endpoints = told.map(|(name, address)| (name.into(), address.parse().unwrap())).collect();
    let story = Story { offers, endpoints, name: case.file_name()?.to_str()?.into(), host, model, start };
    story.steps(&story.start, &Memory::default()).is_ok().then_some(story)
}

impl Story {
    fn plan(&self, live: &Snapshot, memory: &Memory) -> Plan {
        let (offers, endpoints) = (&self.offers, &self.endpoints);
        plan(&self.model, &self.host, &Facts { live, memory, offers, seed: 0x5eed, endpoints })
    }

    fn steps(&self, live: &Snapshot, memory: &Memory) -> Result<Vec<Step>, ()> {
        diff(&self.plan(live, memory), live, memory).map_err(drop)
    }

    /// Up from wherever the twin is; it must end with nothing left to do.
    fn up(&self, twin: &mut Twin, memory: &mut Memory) {
        let steps = self.steps(&twin.state, memory).unwrap();
        let taken = apply(twin, memory, &steps, &mut |_, _| {});
        assert!(taken.is_ok(), "{}: {:?}", self.name, taken.err());
        assert_eq!(self.steps(&twin.state, memory), Ok(vec![]), "{}: not in step after up", self.name);
    }

    /// Down from wherever the twin is; it must end where everything began.
    fn down(&self, twin: &mut Twin, memory: &mut Memory, after: &str) {
        let steps = diff(&Plan::default(), &twin.state, memory).unwrap();
        let failed = settle(twin, memory, &steps);
        assert!(failed.is_empty(), "{}, {after}: {failed:?}", self.name);
        assert_eq!(sorted(&twin.state), sorted(&self.start), "{}, {after}", self.name);
    }
}

/// A snapshot whose order means nothing where the kernel keeps none.
fn sorted(state: &Snapshot) -> Snapshot {
    let mut state = state.clone();
    state.addresses.sort_by_key(|address| address.net.addr().is_ipv6());
    state.routes.sort_by_key(|route| format!("{route:?}"));
    state.neighbours.retain(|neighbour| neighbour.lasts());
    state.neighbours.sort_by_key(|neighbour| format!("{neighbour:?}"));
    state
}

#[test]
fn up_twice_changes_nothing_and_down_is_the_way_back() {
    for story in stories() {
        let (mut twin, mut memory) = (Twin::new(story.start.clone()), Memory::default());
        story.up(&mut twin, &mut memory);
        let end = twin.state.clone();
        story.up(&mut twin, &mut memory);
        assert_eq!(twin.state, end, "{}", story.name);
        story.down(&mut twin, &mut memory, "up");
        let left = memory.clone();
        assert!(left.displaced.is_empty(), "{}: {left:?}", story.name);
        story.down(&mut twin, &mut memory, "down");
    }
}

#[test]
fn a_failure_at_any_step_leaves_the_host_as_it_was() {
    for story in stories() {
        let steps = story.steps(&story.start, &Memory::default()).unwrap();
        for k in 0..steps.len() {
            let mut twin = Twin { state: story.start.clone(), fails_after: Some(k) };
            let mut memory = Memory::default();
            let failure = apply(&mut twin, &mut memory, &steps, &mut |_, _| {}).expect_err("a step fails");
            assert!(failure.left.is_empty(), "{}, step {k}", story.name);
            assert_eq!(sorted(&twin.state), sorted(&story.start), "{}, step {k}", story.name);
        }
    }
}

#[test]
fn a_death_at_any_step_is_mended_by_up_or_down() {
    for story in stories() {
        let steps = story.steps(&story.start, &Memory::default()).unwrap();
        let mut whole = Twin::new(story.start.clone());
        story.up(&mut whole, &mut Memory::default());
        for k in 0..steps.len() {
            for effect in [Effect::None, Effect::Half, Effect::Whole] {
                let after = format!("death at step {k}, effect: {effect:?}");
                let (twin, memory) = dead(&story, &steps, k, effect);
                story.down(&mut twin.clone(), &mut memory.clone(), &after);
                let (mut twin, mut memory) = (twin, memory);
                story.up(&mut twin, &mut memory);
                assert_eq!(sorted(&twin.state), sorted(&whole.state), "{}, {after}, up", story.name);
                story.down(&mut twin, &mut memory, &format!("{after}, up"));
            }
        }
    }
}

#[test]
fn an_address_that_a_dhcp_client_brings_back_leaves_again_and_nothing_is_forgotten() {
    for story in stories() {
        let (mut twin, mut memory) = (Twin::new(story.start.clone()), Memory::default());
        story.up(&mut twin, &mut memory);
        let gone = story.start.addresses.iter().filter(|address| !twin.state.addresses.contains(address));
        let gone: Vec<_> = gone.cloned().collect();
        twin.state.addresses.extend(gone);
        story.up(&mut twin, &mut memory);
        story.down(&mut twin, &mut memory, "dhcp");
    }
}

/// How much of the step that was being taken came about.
#[derive(Clone, Copy, Debug)]
enum Effect {
    None,
    Half,
    Whole,
}

/// The steps before `k` were taken; `k` itself was noted, and perhaps taken, but not noted as taken.
fn dead(story: &Story, steps: &[Step], k: usize, effect: Effect) -> (Twin, Memory) {
    let (mut twin, mut memory) = (Twin::new(story.start.clone()), Memory::default());
    apply(&mut twin, &mut memory, &steps[..k], &mut |_, _| {}).unwrap();
    memory.doing(&steps[k]);
    match (effect, &steps[k]) {
        (Effect::None, _) => {}
        // The kernel's tunnel devices get their mark in a request of its own.
        (Effect::Half, Step::Create(Object::Link(link))) if link.kind != LinkKind::Tun => {
            let bare = Link { bridge: None, up: false, ..link.clone() };
            twin.execute(&Step::Create(Object::Link(bare))).unwrap();
        }
        (Effect::Half | Effect::Whole, step) => {
            twin.execute(step).unwrap();
        }
    }
    (twin, memory)
}

#[test]
fn the_journal_remembers_as_its_memory_does() {
    for story in stories() {
        let dir = std::env::temp_dir().join(format!("straddle-model-{}-{}", std::process::id(), story.name));
        let mut journal = straddle_kernel::Journal::open(&dir, "boot").unwrap();
        let mut twin = Twin::new(story.start.clone());
        let steps = story.steps(&story.start, &Memory::default()).unwrap();
        apply(&mut twin, &mut journal, &steps, &mut |_, _| {}).unwrap();
        assert_eq!(
            straddle_kernel::Journal::read(&dir, "boot").unwrap(),
            *journal.memory(),
            "{}",
            story.name
        );
        assert_eq!(straddle_kernel::Journal::read(&dir, "another").unwrap(), Memory::default());
        journal.close().unwrap();
        fs::remove_dir_all(&dir).unwrap();
    }
}
