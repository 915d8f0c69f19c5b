//! What the kernel told of an object, made fit to be handed back to it.

/// `RTNH_F_PERVASIVE | RTNH_F_ONLINK`: the flags of a route that a user sets.
const ROUTE_FLAGS: u8 = 2 | 4;
const RTA_OIF: u16 = 4;
const RTA_GATEWAY: u16 = 5;
const RTA_MULTIPATH: u16 = 9;
const RTA_CACHEINFO: u16 = 12;
const RTA_VIA: u16 = 18;
const RTA_NH_ID: u16 = 30;
/// `IFA_FLAGS`.
const IFA_FLAGS: u16 = 8;
/// `IFA_F_MCAUTOJOIN | IFA_F_NOPREFIXROUTE`: the flags of an IPv4 address that a user sets.
const ADDRESS_FLAGS: u32 = 0x400 | 0x200;
/// `NDA_CACHEINFO`, `NDA_PROBES`.
const NEIGHBOUR_STATE: [u16; 2] = [3, 4];

/// Type and value of each attribute (`struct nlattr`).
pub(crate) fn attributes(bytes: &[u8]) -> Vec<(u16, &[u8])> {
    let mut found = Vec::new();
    let mut rest = bytes;
    while let Some((&[l0, l1, k0, k1], _)) = rest.split_first_chunk::<4>() {
        let length = usize::from(u16::from_ne_bytes([l0, l1]));
        let Some(value) = rest.get(4..length) else { break };
        found.push((u16::from_ne_bytes([k0, k1]) & 0x3fff, value));
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or(&[]);
    }
    found
}

/// `struct rtmsg` and attributes, without the state of the moment.
pub(crate) fn route(payload: &[u8]) -> Vec<u8> {
    let Some((header, rest)) = payload.split_first_chunk::<12>() else { return Vec::new() };
    let mut header = *header;
    header[8] &= ROUTE_FLAGS;
    header[9..12].fill(0);
    let attributes = attributes(rest);
    // A nexthop object speaks for all that is in it.
    let by_object = attributes.iter().any(|(kind, _)| *kind == RTA_NH_ID);
    let mut out = header.to_vec();
    for (kind, value) in attributes {
        let spoken_for = by_object && [RTA_OIF, RTA_GATEWAY, RTA_MULTIPATH, RTA_VIA].contains(&kind);
        if kind == RTA_CACHEINFO || spoken_for {
            continue;
        }
        if kind == RTA_MULTIPATH {
            push(&mut out, kind, &next_hops(value))
        } else {
            push(&mut out, kind, value)
        }
    }
    out
}

/// `struct ifaddrmsg` and attributes, without what the kernel works out itself.
pub(crate) fn address(payload: &[u8]) -> Vec<u8> {
    let Some((header, rest)) = payload.split_first_chunk::<8>() else { return Vec::new() };
    let mut header = *header;
    header[2] = 0;
    let mut out = header.to_vec();
    for (kind, value) in attributes(rest) {
        match value.first_chunk::<4>() {
            Some(flags) if kind == IFA_FLAGS => {
                push(&mut out, kind, &(u32::from_ne_bytes(*flags) & ADDRESS_FLAGS).to_ne_bytes());
            }
            Some(_) | None => push(&mut out, kind, value),
        }
    }
    out
}

/// `struct ndmsg` and attributes, without the state of the moment.
pub(crate) fn neighbour(payload: &[u8]) -> Vec<u8> {
    let Some((header, rest)) = payload.split_first_chunk::<12>() else { return Vec::new() };
    let mut out = header.to_vec();
    for (kind, value) in attributes(rest) {
        if !NEIGHBOUR_STATE.contains(&kind) {
            push(&mut out, kind, value);
        }
    }
    out
}

/// `struct rtnexthop`: its flags are the third byte.
fn next_hops(value: &[u8]) -> Vec<u8> {
    let mut out = value.to_vec();
    let mut at = 0;
    while let (Some(&low), Some(&high)) = (out.get(at), out.get(at + 1)) {
        if let Some(flags) = out.get_mut(at + 2) {
            *flags &= ROUTE_FLAGS;
        }
        let length = usize::from(u16::from_ne_bytes([low, high])).next_multiple_of(4);
        if length == 0 {
            break;
        }
        at += length;
    }
    out
}

pub(crate) fn push(out: &mut Vec<u8>, kind: u16, value: &[u8]) {
    let length = u16::try_from(4 + value.len()).unwrap_or(u16::MAX);
    out.extend(length.to_ne_bytes());
    out.extend(kind.to_ne_bytes());
    out.extend(value);
    out.resize(out.len().next_multiple_of(4), 0);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_route_loses_the_state_of_the_moment() {
        let mut payload = vec![2, 24, 0, 0, 254, 3, 0, 1, 4 | 16, 0, 0, 0];
        push(&mut payload, 15, &254u32.to_ne_bytes());
        push(&mut payload, RTA_CACHEINFO, &[0; 32]);
        let mut hop = vec![8, 0, 4 | 16 | 1, 0, 7, 0, 0, 0];
        hop.extend_from_within(..);
        push(&mut payload, RTA_MULTIPATH, &hop);
        let told = route(&payload);
        assert_eq!(told[8], 4);
        let kinds: Vec<u16> = attributes(&told[12..]).iter().map(|(kind, _)| *kind).collect();
        assert_eq!(kinds, [15, RTA_MULTIPATH]);
        let hops = attributes(&told[12..])[1].1;
        assert_eq!((hops[2], hops[10]), (4, 4));
    }

    #[test]
    fn a_nexthop_object_speaks_for_its_parts() {
        let mut payload = vec![2, 0, 0, 0, 254, 3, 0, 1, 0, 0, 0, 0];
        push(&mut payload, RTA_NH_ID, &7u32.to_ne_bytes());
        push(&mut payload, RTA_GATEWAY, &[192, 0, 2, 1]);
        push(&mut payload, RTA_OIF, &3u32.to_ne_bytes());
        let told = route(&payload);
        let kinds: Vec<u16> = attributes(&told[12..]).iter().map(|(kind, _)| *kind).collect();
        assert_eq!(kinds, [RTA_NH_ID]);
    }
}
