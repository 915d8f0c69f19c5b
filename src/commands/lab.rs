use straddle_lab::{
    BorrowOptions, Carrier, ClatOptions, ClatVariant, LabError, PublishOptions, PublishVariant, RelayOptions,
    Report, SiitOptions, Tunnel6Options, Via6Options, borrow, borrow_bridge, clat, publish, relay, siit,
    tunnel6, via6,
};

use crate::cli::{CarrierWord, Exit, Knowledge, Lab, Much, Variant};
use crate::complaint::Complaint;
use crate::say;

use super::Ended;

/// Builds the world of a recipe and tries it. Ctrl-C at any moment leaves nothing behind: the world
/// goes with this process.
pub(crate) fn lab(options: &Lab) -> Ended {
    let report = tried(options).map_err(|error| Complaint::Lab(error.to_string()))?;
    let (Lab::Borrow { shown, .. }
    | Lab::Clat { shown, .. }
    | Lab::Publish { shown, .. }
    | Lab::Siit { shown }
    | Lab::Relay { shown }
    | Lab::Tunnel6 { shown }
    | Lab::Via6 { shown }) = options;
    if shown.json {
        let text = serde_json::to_string_pretty(&report);
        say::result(&(text.map_err(|error| Complaint::Lab(error.to_string()))? + "\n"))?;
    } else {
        say::result(&report.to_string())?;
    }
    Ok(if report.ok() { Exit::Done } else { Exit::OutOfStep })
}

fn tried(options: &Lab) -> Result<Report, LabError> {
    let exe = std::env::current_exe()
        .map_err(|source| LabError::Io { doing: "finding this program's own path".into(), source })?;
    // To the standard error: the report alone is the output.
    let mut progress = |what: &str| say::aside(&format!("... {what}\n"));
    match *options {
        Lab::Borrow { variant, carrier, shown } => {
            let wanted = BorrowOptions { carrier: known_as(carrier), keep: shown.keep };
            match variant {
                None => borrow(&wanted, &exe, &mut progress),
                Some(Variant::Bridge) => borrow_bridge(&wanted, &mut progress),
            }
        }
        Lab::Clat { variant, shown } => {
            let variant = match variant {
                Knowledge::Given => ClatVariant::Given,
                Knowledge::Pref64 => ClatVariant::Pref64,
                Knowledge::Dns64 => ClatVariant::Dns64,
                Knowledge::Routed => ClatVariant::Routed,
            };
            clat(&ClatOptions { variant, keep: shown.keep, ..ClatOptions::default() }, &exe, &mut progress)
        }
        Lab::Publish { variant, shown } => {
            let variant = match variant {
                Much::Address => PublishVariant::Address,
                Much::Ports => PublishVariant::Ports,
            };
            publish(&PublishOptions { variant, keep: shown.keep }, &exe, &mut progress)
        }
        Lab::Siit { shown } => {
            siit(&SiitOptions { keep: shown.keep, ..SiitOptions::default() }, &exe, &mut progress)
        }
        Lab::Relay { shown } => relay(&RelayOptions { keep: shown.keep }, &exe, &mut progress),
        Lab::Via6 { shown } => via6(&Via6Options { keep: shown.keep }, &exe, &mut progress),
        Lab::Tunnel6 { shown } => tunnel6(&Tunnel6Options { keep: shown.keep }, &exe, &mut progress),
    }
}

fn known_as(carrier: CarrierWord) -> Carrier {
    match carrier {
        CarrierWord::Ip6gre => Carrier::Ip6gre,
        CarrierWord::Ip4ip6 => Carrier::Ip4ip6,
    }
}
