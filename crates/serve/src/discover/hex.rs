//! Bytes as commented text: `#` to the end of a line is ignored, so is white space.

pub(super) fn bytes(text: &str) -> Vec<u8> {
    let spoken = text.lines().filter_map(|line| line.split('#').next());
    let digits: Vec<u8> = spoken
        .flat_map(str::chars)
        .filter(|c| !c.is_whitespace())
        .map(|c| u8::try_from(c.to_digit(16).unwrap()).unwrap())
        .collect();
    digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}
