//! The recipe as a whole, as `straddle lab borrow` shows it.
//!
//! ```text
//!  client ── inet ── switch ── lender
//!              │                 ║
//!              └────────────── borrower
//! ```

use straddle_lab::{BorrowOptions, Carrier, borrow, borrow_bridge};

use crate::{exe, good, turn};

fn moves_and_returns(carrier: Carrier) {
    let options = BorrowOptions { carrier, ..BorrowOptions::default() };
    let mut stages = Vec::new();
    let report = borrow(&options, exe(), &mut |stage| stages.push(stage.to_owned())).unwrap();
    good(&report);
    let traffic = report.traffic.unwrap();
    let after = traffic.after;
    let rates = [after.tcp_to, after.tcp_from, after.udp_to, after.udp_from];
    assert!(rates.iter().flatten().all(|rate| rate.bits_per_second > 0.0), "{rates:?}");
    assert_eq!(rates.iter().flatten().count(), 4, "every way carries: {rates:?}");
    assert!(!stages.is_empty(), "progress is told");
}

#[test]
fn an_address_moves_by_ip6gre_and_returns() {
    let Some(_turn) = turn("an_address_moves_by_ip6gre_and_returns") else { return };
    moves_and_returns(Carrier::Ip6gre);
}

#[test]
fn an_address_moves_by_ip4ip6_and_returns() {
    let Some(_turn) = turn("an_address_moves_by_ip4ip6_and_returns") else { return };
    moves_and_returns(Carrier::Ip4ip6);
}

#[test]
fn bridging_fails_for_the_reasons_shown() {
    let Some(_turn) = turn("bridging_fails_for_the_reasons_shown") else { return };
    let report = borrow_bridge(&BorrowOptions::default(), &mut |_| ()).unwrap();
    good(&report);
    assert_eq!(report.attempts.len(), 3);
}
