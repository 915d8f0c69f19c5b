//! The borrow lab, complete, with carriers of the kernel's own.

use straddle_lab::{BorrowOptions, Carrier, LabError, Report, borrow, borrow_bridge};

use crate::{choice, exe, turn};

fn good(report: &Report, wanted: &str) {
    println!("{report}");
    assert!(report.ok(), "a check failed, see above");
    assert!(report.checks.iter().any(|check| check.name == wanted), "the check `{wanted}` was not made");
}

fn moves(carrier: Carrier) -> Result<(), LabError> {
    let _turn = turn();
    let report = borrow(&BorrowOptions { carrier, keep: false }, exe(), &mut |what| println!("... {what}"))?;
    good(&report, "`up` alone is enough: no process stays");
    Ok(())
}

#[test]
fn an_address_moves_by_the_kernels_ip6gre_with_up_alone() -> Result<(), LabError> {
    moves(Carrier::Ip6gre)
}

#[test]
fn an_address_moves_by_the_kernels_ip4ip6_with_up_alone() -> Result<(), LabError> {
    moves(Carrier::Ip4ip6)
}

#[test]
fn bridging_is_refused_or_defeated() -> Result<(), LabError> {
    let _turn = turn();
    let report = borrow_bridge(&BorrowOptions::default(), &mut |what| println!("... {what}"))?;
    good(&report, "plain ip6gre is refused as a bridge port");
    good(&report, "the Ethernet carrier is the kernel's ip6gretap");
    Ok(())
}

#[test]
fn auto_takes_the_kernels_devices() -> Result<(), LabError> {
    let _turn = turn();
    assert_eq!(choice::auto_follows_the_kernel(exe())?, [true, true]);
    Ok(())
}
