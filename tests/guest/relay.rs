//! What of a relay needs a host that lets a process have as many files as it asks for.

use rustix::process::{Resource, Rlimit, setrlimit};
use straddle_lab::LabError;

use crate::{exe, idle, turn};

/// 20,000 idle connections within 200 MB. This process has both ends of each, and the relay both sides.
#[test]
fn twenty_thousand_idle_connections_cost_little() -> Result<(), LabError> {
    let _turn = turn();
    let files = Some(45_000);
    setrlimit(Resource::Nofile, Rlimit { current: files, maximum: files })
        .expect("root may have more files in the guest");
    println!("{}", idle::cost_little(exe(), 20_000)?);
    Ok(())
}
