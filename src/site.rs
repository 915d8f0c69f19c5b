//! This host and the file, brought together: what every command begins with.

use std::path::Path;

use straddle_intent::config::Diagnostic;
use straddle_intent::diff::{Conflict, diff};
use straddle_intent::memory::Memory;
use straddle_intent::model::{self, Host, Model};
use straddle_intent::object::SysctlKey;
use straddle_intent::plan::{Endpoints, Facts, Offers, Plan, plan, sysctls_before};
use straddle_intent::site::{Unknown, check, identify, programs};
use straddle_intent::snapshot::Snapshot;
use straddle_intent::step::Step;
use straddle_kernel::{Journal, Kernel, Live, boot_id, endpoints, offers};

use crate::cli::Place;
use crate::complaint::Complaint;

/// The file's text and what it says.
pub(crate) struct File {
    text: String,
    pub(crate) model: Model,
}

impl File {
    /// Mistakes of the file that were found on this host.
    pub(crate) fn wrong(&self, place: &Place, mut found: Vec<Diagnostic>) -> Complaint {
        found.sort_by_key(|diagnostic| (diagnostic.span.start, diagnostic.span.end));
        Complaint::Mistakes { path: place.config.clone(), text: self.text.clone(), found }
    }
}

/// Reads and validates the file.
pub(crate) fn read(path: &Path) -> Result<File, Complaint> {
    let text =
        std::fs::read_to_string(path).map_err(|why| Complaint::NoFile { path: path.to_path_buf(), why })?;
    match model::read(&text) {
        Ok(model) => Ok(File { text, model }),
        Err(found) => Err(Complaint::Mistakes { path: path.to_path_buf(), text, found }),
    }
}

/// This host in the file.
pub(crate) struct Site {
    pub(crate) model: Model,
    pub(crate) host: String,
    pub(crate) boot: String,
    pub(crate) kernel: Live,
    offers: Offers,
    seed: u64,
    /// What other hosts have told, as the state folder has it.
    pub(crate) endpoints: Endpoints,
    /// What was heard in this process.
    pub(crate) heard: Endpoints,
}

/// The host at one moment.
pub(crate) struct Look {
    pub(crate) plan: Plan,
    pub(crate) live: Snapshot,
    pub(crate) memory: Memory,
}

impl Site {
    /// Reads the file, finds this host in it, and checks what the file says of it.
    pub(crate) fn open(place: &Place) -> Result<Site, Complaint> {
        let file = read(&place.config)?;
        let mut kernel = Live::open()?;
        let live = kernel.addresses()?;
        let offers = asked(&file.model);
        let host = locate(&file, place, &live, &offers)?;
        let uplink = file.model.hosts.iter().find(|known| known.name == host).map(|host| &host.uplink.value);
        let hardware = uplink.map(|uplink| kernel.hardware(uplink)).transpose()?.unwrap_or_default();
        let id = std::fs::read("/etc/machine-id").unwrap_or_default();
        let (seed, endpoints) = (seed(&[&id, &hardware]), endpoints::read(&place.state_dir)?);
        Ok(Site {
            host,
            boot: boot_id()?,
            kernel,
            offers,
            seed,
            endpoints,
            heard: Endpoints::new(),
            model: file.model,
        })
    }

    /// Looks at the kernel, with what the journal in the state folder remembers.
    pub(crate) fn look(&mut self, place: &Place) -> Result<Look, Complaint> {
        let memory = Journal::read(&place.state_dir, &self.boot)?;
        self.endpoints = endpoints::read(&place.state_dir)?;
        self.endpoints.extend(self.heard.clone());
        self.look_with(memory)
    }

    /// Looks at the kernel. The plan needs to know a little beforehand, and wants to see more.
    pub(crate) fn look_with(&mut self, memory: Memory) -> Result<Look, Complaint> {
        let links = self.kernel.addresses()?.links;
        let devices: Vec<&str> = links.iter().map(|link| link.name.as_str()).collect();
        let mut keys = sysctls_before(&self.model, &self.host, &devices);
        keys.extend(memory.sysctls(&devices));
        let first = self.kernel.observe(&keys)?;
        let draft = plan(&self.model, &self.host, &self.facts(&first, &memory));
        keys.extend(draft.sysctls());
        let live = self.kernel.observe(&with_disturbed(keys, &first))?;
        let plan = plan(&self.model, &self.host, &self.facts(&live, &memory));
        Ok(Look { plan, live, memory })
    }

    fn facts<'a>(&'a self, live: &'a Snapshot, memory: &'a Memory) -> Facts<'a> {
        Facts { live, memory, offers: &self.offers, seed: self.seed, endpoints: &self.endpoints }
    }
}

/// A number that is this host's: FNV-1a of its machine-id(5), which clones of a machine may share, and of its
/// uplink's link-layer address, which no two hosts of one link do.
fn seed(of: &[&[u8]]) -> u64 {
    let bytes = of.iter().copied().flatten();
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

/// What the kernel has for the bridges of the file; without the right to ask, nothing is counted on.
pub(crate) fn asked(model: &Model) -> Offers {
    offers(|offers| programs(model, offers)).unwrap_or_default()
}

/// Finds this host in the file; what the file says of it must be so.
fn locate(file: &File, place: &Place, live: &Snapshot, offers: &Offers) -> Result<String, Complaint> {
    let host = named(file, place, live)?;
    let found = check(&file.model, host, live, offers);
    if found.is_empty() { Ok(host.name.clone()) } else { Err(file.wrong(place, found)) }
}

/// Finds this host in the file.
pub(crate) fn named<'a>(file: &'a File, place: &Place, live: &Snapshot) -> Result<&'a Host, Complaint> {
    let known = || file.model.hosts.iter().map(|host| host.name.clone()).collect();
    identify(&file.model, place.host.as_deref(), live)
        .map_err(|unknown| Complaint::Unknown { unknown, known: known() })
}

/// Whether `check` may go without this host's part: it is none of the file's.
pub(crate) fn is_elsewhere(complaint: &Complaint) -> bool {
    matches!(complaint, Complaint::Unknown { unknown: Unknown::Nobody | Unknown::Several(_), .. })
}

fn with_disturbed(mut keys: Vec<SysctlKey>, live: &Snapshot) -> Vec<SysctlKey> {
    let devices: Vec<&str> = live.links.iter().map(|link| link.name.as_str()).collect();
    let disturbed: Vec<SysctlKey> = keys.iter().flat_map(|key| key.disturbs(&devices)).collect();
    keys.extend(disturbed);
    keys
}

impl Look {
    /// The work that is left.
    pub(crate) fn steps(&self) -> Result<Vec<Step>, Vec<Conflict>> {
        diff(&self.plan, &self.live, &self.memory)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clones_differ() {
        let id = b"0123456789abcdef0123456789abcdef\n".as_slice();
        let seed = |mac: u8| seed(&[id, &[2, 0, 0, 0, 0, mac]]);
        assert_ne!(seed(1), seed(2));
        assert_eq!(seed(1), seed(1), "it stays");
    }
}
