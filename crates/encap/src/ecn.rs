//! Congestion marks across a tunnel: RFC 6040.

use crate::Reason;

/// The two low bits of a traffic class.
const MASK: u8 = 3;
const NOT_ECT: u8 = 0;
const ECT1: u8 = 1;
const ECT0: u8 = 2;
const CE: u8 = 3;

/// The inner traffic class after decapsulation: RFC 6040 §4.2, figure 4. DSCP stays the inner one.
#[inline]
pub(crate) fn combine(inner: u8, outer: u8) -> Result<u8, Reason> {
    let mark = match (inner & MASK, outer & MASK) {
        (NOT_ECT, CE) => return Err(Reason::EcnNotEct),
        (_, CE) => CE,
        (ECT0, ECT1) => ECT1,
        (mark, _) => mark,
    };
    Ok(inner & !MASK | mark)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One row of RFC 6040 figure 4: outer Not-ECT, ECT(0), ECT(1), CE.
    fn check(inner: u8, expected: [Result<u8, Reason>; 4]) {
        for (outer, expected) in [NOT_ECT, ECT0, ECT1, CE].into_iter().zip(expected) {
            for dscp in [0x00, 0x80, 0xb8, 0xe0, 0xfc] {
                let expected = expected.map(|mark| dscp | mark);
                assert_eq!(combine(dscp | inner, outer), expected);
                assert_eq!(combine(dscp | inner, 0xfc | outer), expected);
            }
        }
    }

    #[test]
    fn figure_4() {
        let drop = Err(Reason::EcnNotEct);
        check(NOT_ECT, [Ok(NOT_ECT), Ok(NOT_ECT), Ok(NOT_ECT), drop]);
        check(ECT0, [Ok(ECT0), Ok(ECT0), Ok(ECT1), Ok(CE)]);
        check(ECT1, [Ok(ECT1), Ok(ECT1), Ok(ECT1), Ok(CE)]);
        check(CE, [Ok(CE), Ok(CE), Ok(CE), Ok(CE)]);
    }
}
