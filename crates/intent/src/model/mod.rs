//! Second station: the file as values that are legal together. The last that can refuse.

mod borrow;
mod host;

pub use borrow::{Borrow, CarrierKind, End};
pub use host::{BackendChoice, Host};

use crate::config::{Config, Diagnostic};

/// All that the file says, legal by type.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Model {
    /// Every host of the file.
    pub hosts: Vec<Host>,
    /// Every `[[borrow]]`.
    pub borrows: Vec<Borrow>,
}

/// Reads a file through both stations.
///
/// # Errors
/// Every mistake of the file, in its order.
pub fn read(text: &str) -> Result<Model, Vec<Diagnostic>> {
    let (config, mut found) = crate::config::parse(text);
    let model = build(&config, &mut found);
    if found.is_empty() {
        return Ok(model);
    }
    found.sort_by_key(|diagnostic| (diagnostic.span.start, diagnostic.span.end));
    found.dedup();
    Err(found)
}

fn build(config: &Config, found: &mut Vec<Diagnostic>) -> Model {
    host::check(&config.hosts, found);
    Model {
        hosts: config.hosts.iter().filter_map(Host::from_config).collect(),
        borrows: borrow::build(config, found),
    }
}
