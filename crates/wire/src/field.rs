//! Single big-endian fields of a header that is already there, by the offsets in each protocol's `at`.
//!
//! Setters are total: a field that would not lie within the bytes is left alone.

/// Sets one byte.
#[inline]
pub fn set8(bytes: &mut [u8], at: usize, value: u8) {
    if let Some(field) = bytes.get_mut(at) {
        *field = value;
    }
}

/// Sets two bytes.
#[inline]
pub fn set16(bytes: &mut [u8], at: usize, value: u16) {
    if let Some(field) = bytes.get_mut(at..).and_then(<[u8]>::first_chunk_mut) {
        *field = value.to_be_bytes();
    }
}

/// Sets four bytes.
#[inline]
pub fn set32(bytes: &mut [u8], at: usize, value: u32) {
    if let Some(field) = bytes.get_mut(at..).and_then(<[u8]>::first_chunk_mut) {
        *field = value.to_be_bytes();
    }
}

/// Two bytes, where they are there.
#[inline]
#[must_use]
pub fn get16(bytes: &[u8], at: usize) -> Option<u16> {
    let field = bytes.get(at..)?.first_chunk()?;
    Some(u16::from_be_bytes(*field))
}

/// Four bytes, where they are there.
#[inline]
#[must_use]
pub fn get32(bytes: &[u8], at: usize) -> Option<u32> {
    let field = bytes.get(at..)?.first_chunk()?;
    Some(u32::from_be_bytes(*field))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(at: usize, expected: [u8; 4]) {
        let mut bytes = [0; 4];
        set16(&mut bytes, at, 0x1234);
        assert_eq!(bytes, expected);
        let there = at + 2 <= bytes.len();
        assert_eq!(get16(&bytes, at), there.then_some(0x1234));
    }

    #[test]
    fn fields_are_big_endian_and_stay_inside() {
        check(0, [0x12, 0x34, 0, 0]);
        check(1, [0, 0x12, 0x34, 0]);
        check(2, [0, 0, 0x12, 0x34]);
        check(3, [0; 4]);
        check(4, [0; 4]);
        check(5, [0; 4]);
    }

    #[test]
    fn wide_and_narrow() {
        let mut bytes = [0; 5];
        set32(&mut bytes, 1, 0x1234_5678);
        set8(&mut bytes, 0, 9);
        set8(&mut bytes, 5, 9);
        set32(&mut bytes, 2, 0);
        assert_eq!(bytes, [9, 0x12, 0x34, 0x56, 0x78]);
        assert_eq!(get32(&bytes, 1), Some(0x1234_5678));
        assert_eq!(get32(&bytes, 2), None);
    }
}
