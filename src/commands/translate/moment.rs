//! When a packet was captured, exactly as the capture says it.

use std::fmt;

/// A time since 1970, as fine as the capture tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Moment {
    /// In units of 10⁻¹⁸ s.
    attoseconds: i128,
    /// How many decimal places the capture tells.
    places: u8,
}

impl Moment {
    /// Seconds and a fraction in units of 10⁻⁶ or 10⁻⁹ s, of which `places` tells which.
    pub(super) fn of_fraction(seconds: u32, fraction: u32, places: u8) -> Self {
        let unit = SECOND / 10_i128.pow(places.min(PLACES).into());
        Self { attoseconds: i128::from(seconds) * SECOND + i128::from(fraction) * unit, places }
    }

    /// A count of units as pcapng has it: `resolution` is the interface's `if_tsresol` (a negative power of
    /// ten, or of two where the highest bit is set), `offset` its `if_tsoffset` in seconds.
    pub(super) fn of_units(units: u64, resolution: u8, offset: i64) -> Self {
        let exponent = resolution & 0x7f;
        let since = if resolution & 0x80 != 0 {
            (i128::from(units) * SECOND) >> exponent
        } else if exponent <= PLACES {
            i128::from(units) * 10_i128.pow((PLACES - exponent).into())
        } else {
            let finer = 10_i128.checked_pow((exponent - PLACES).into());
            finer.map_or(0, |finer| i128::from(units) / finer)
        };
        Self { attoseconds: since + i128::from(offset) * SECOND, places: exponent.min(PLACES) }
    }

    /// Whole milliseconds since 1970, as far as they can be counted; zero for what was before.
    pub(super) fn milliseconds(self) -> u64 {
        u64::try_from((self.attoseconds / (SECOND / 1000)).max(0)).unwrap_or(u64::MAX)
    }

    /// Seconds and nanoseconds as pcap can hold them: nothing before 1970, nothing after 2106.
    pub(super) fn seconds(self) -> (u32, u32) {
        if self.attoseconds < 0 {
            return (0, 0);
        }
        let seconds = u32::try_from(self.attoseconds / SECOND).unwrap_or(u32::MAX);
        (seconds, (self.attoseconds % SECOND / 1_000_000_000) as u32)
    }

    /// How much later it is than another, in microseconds.
    pub(crate) fn microseconds_since(self, other: Self) -> i128 {
        (self.attoseconds - other.attoseconds) / (SECOND / 1_000_000)
    }
}

/// Seconds as a decimal number, with as many places as the capture tells.
impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let places = usize::from(self.places);
        let sign = if self.attoseconds < 0 { "-" } else { "" };
        let told = self.attoseconds.unsigned_abs();
        let (seconds, fraction) = (told / SECOND.unsigned_abs(), told % SECOND.unsigned_abs());
        if places == 0 {
            return write!(f, "{sign}{seconds}");
        }
        let fraction = fraction / 10_u128.pow((PLACES - self.places).into());
        write!(f, "{sign}{seconds}.{fraction:0places$}")
    }
}

const SECOND: i128 = 1_000_000_000_000_000_000;
/// Decimal places of an attosecond.
const PLACES: u8 = 18;

#[cfg(test)]
mod tests {
    use super::*;

    fn check(moment: Moment, shown: &str, milliseconds: u64, seconds: (u32, u32)) {
        assert_eq!(moment.to_string(), shown);
        assert_eq!((moment.milliseconds(), moment.seconds()), (milliseconds, seconds), "{shown}");
    }

    #[test]
    fn of_pcap() {
        check(Moment::of_fraction(7, 1, 6), "7.000001", 7000, (7, 1000));
        check(Moment::of_fraction(7, 1, 9), "7.000000001", 7000, (7, 1));
        check(
            Moment::of_fraction(1_700_000_000, 123_456, 6),
            "1700000000.123456",
            1_700_000_000_123,
            (1_700_000_000, 123_456_000),
        );
        check(
            Moment::of_fraction(u32::MAX, 999_999, 6),
            "4294967295.999999",
            4_294_967_295_999,
            (u32::MAX, 999_999_000),
        );
        // More microseconds than a second has.
        check(Moment::of_fraction(1, 2_500_000, 6), "3.500000", 3500, (3, 500_000_000));
    }

    #[test]
    fn of_pcapng() {
        check(Moment::of_units(1_500_000, 6, 0), "1.500000", 1500, (1, 500_000_000));
        check(Moment::of_units(1_500_000_001, 9, 0), "1.500000001", 1500, (1, 500_000_001));
        check(Moment::of_units(1_500_000_000_001, 12, 0), "1.500000000001", 1500, (1, 500_000_000));
        check(Moment::of_units(3, 0x81, 0), "1.5", 1500, (1, 500_000_000));
        check(Moment::of_units(3, 0x82, 0), "0.75", 750, (0, 750_000_000));
        check(Moment::of_units(3, 0, 4), "7", 7000, (7, 0));
        check(Moment::of_units(500_000, 6, -2), "-1.500000", 0, (0, 0));
        check(Moment::of_units(u64::MAX, 0, i64::MAX), "27670116110564327422", u64::MAX, (u32::MAX, 0));
        check(Moment::of_units(u64::MAX, 0x7f, 0), "0.000000000000000000", 0, (0, 0));
        check(Moment::of_units(u64::MAX, 0xff, 0), "0.000000000000000000", 0, (0, 0));
        check(Moment::of_units(12_000, 20, 0), "0.000000000000000120", 0, (0, 0));
    }

    #[test]
    fn differences() {
        let later = Moment::of_fraction(7, 5, 6).microseconds_since(Moment::of_fraction(6, 999_999_000, 9));
        assert_eq!(later, 6);
    }
}
