//! Translation with Jool as the other side: a NAT64 for our CLAT, a second translator beside our SIIT.

use straddle_lab::{ClatOptions, LabError, Peer, Report, SiitOptions, clat, siit};

use crate::{exe, turn};

fn good(report: &Report) {
    println!("{report}");
    assert!(report.ok(), "a check failed, see above");
    assert!(report.title.contains("Jool"), "{}", report.title);
}

#[test]
fn a_vm_has_ipv4_through_jools_nat64() -> Result<(), LabError> {
    let _turn = turn();
    let options = ClatOptions { nat64: Peer::Jool, ..ClatOptions::default() };
    good(&clat(&options, exe(), &mut |what| println!("... {what}"))?);
    Ok(())
}

#[test]
fn a_data_centre_has_a_gate_of_ours_and_a_translator_of_jools() -> Result<(), LabError> {
    let _turn = turn();
    let options = SiitOptions { peer: Peer::Jool, ..SiitOptions::default() };
    good(&siit(&options, exe(), &mut |what| println!("... {what}"))?);
    Ok(())
}
