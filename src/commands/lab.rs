use straddle_lab::{BorrowOptions, Carrier, LabError, Report, borrow, borrow_bridge};

use crate::cli::{CarrierWord, Exit, Lab, Recipe, Variant};
use crate::complaint::Complaint;
use crate::say;

use super::Ended;

/// Builds the world of a recipe and tries it. Ctrl-C at any moment leaves nothing behind: the world
/// goes with this process.
pub(crate) fn lab(options: &Lab) -> Ended {
    let report = tried(options).map_err(|error| Complaint::Lab(error.to_string()))?;
    if options.json {
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
    let wanted = BorrowOptions {
        carrier: match options.carrier {
            CarrierWord::Ip6gre => Carrier::Ip6gre,
            CarrierWord::Ip4ip6 => Carrier::Ip4ip6,
        },
        keep: options.keep,
    };
    // To the standard error: the report alone is the output.
    let mut progress = |what: &str| say::aside(&format!("... {what}\n"));
    match (options.recipe, options.variant) {
        (Recipe::Borrow, None) => borrow(&wanted, &exe, &mut progress),
        (Recipe::Borrow, Some(Variant::Bridge)) => borrow_bridge(&wanted, &mut progress),
    }
}
