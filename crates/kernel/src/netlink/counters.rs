use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{LinkAttribute, LinkMessage, Stats64};
use serde::Serialize;

use super::Socket;
use crate::Error;

/// What a device of the kernel's has carried: `struct rtnl_link_stats64` of `linux/if_link.h`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Counters {
    /// Packets sent into the device.
    pub packets_out: u64,
    /// Their bytes.
    pub bytes_out: u64,
    /// Packets received from the device.
    pub packets_in: u64,
    /// Their bytes.
    pub bytes_in: u64,
    /// Packets that went no further, by the kernel's names for why; those at zero are left out.
    pub drops: Vec<(&'static str, u64)>,
}

/// The counters of each of these devices that there is, with its name.
pub(crate) fn read(socket: &mut Socket, devices: &[&str]) -> Result<Vec<(String, Counters)>, Error> {
    let found = socket.dump("list devices", &RouteNetlinkMessage::GetLink(LinkMessage::default()))?;
    let links = found.into_iter().filter_map(|object| match object.message {
        RouteNetlinkMessage::NewLink(message) => one(&message.attributes),
        _ => None,
    });
    Ok(links.filter(|(name, _)| devices.contains(&name.as_str())).collect())
}

fn one(attributes: &[LinkAttribute]) -> Option<(String, Counters)> {
    let mut name = None;
    let mut stats = None;
    for attribute in attributes {
        if let LinkAttribute::IfName(known) = attribute {
            name = Some(known.clone());
        } else if let LinkAttribute::Stats64(known) = attribute {
            stats = Some(counters(known));
        }
    }
    name.zip(stats)
}

fn counters(stats: &Stats64) -> Counters {
    let drops = [
        ("tx-errors", stats.tx_errors),
        ("tx-dropped", stats.tx_dropped),
        ("rx-errors", stats.rx_errors),
        ("rx-dropped", stats.rx_dropped),
    ];
    Counters {
        packets_out: stats.tx_packets,
        bytes_out: stats.tx_bytes,
        packets_in: stats.rx_packets,
        bytes_in: stats.rx_bytes,
        drops: drops.into_iter().filter(|(_, count)| *count > 0).collect(),
    }
}
