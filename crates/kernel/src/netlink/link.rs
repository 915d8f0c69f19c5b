use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{
    AfSpecInet6, AfSpecUnspec, In6AddrGenMode, InfoKind, LinkAttribute, LinkFlags, LinkInfo, LinkMessage,
};
use straddle_intent::object::{Link, LinkKind};

use super::{Names, Socket, tunnel};
use crate::{Error, tun};

/// How the `ifalias` of a device of ours begins; the bridge's name follows.
const ALIAS: &str = "straddle:";

/// Every device, and their names by index.
pub(crate) fn dump(socket: &mut Socket) -> Result<(Vec<Link>, Names), Error> {
    let found = socket.dump("list devices", &RouteNetlinkMessage::GetLink(LinkMessage::default()))?;
    let mut links = Vec::new();
    let mut names = Names::new();
    for object in found {
        let RouteNetlinkMessage::NewLink(message) = object.message else { continue };
        let link = read(&message);
        names.insert(message.header.index, link.name.clone());
        links.push(link);
    }
    Ok((links, names))
}

/// A device's link-layer address; none where there is no such device, or no such address.
pub(crate) fn hardware(socket: &mut Socket, dev: &str) -> Result<Vec<u8>, Error> {
    let found = socket.dump("list devices", &RouteNetlinkMessage::GetLink(LinkMessage::default()))?;
    for object in found {
        let RouteNetlinkMessage::NewLink(message) = object.message else { continue };
        let address = message.attributes.iter().find_map(|attribute| {
            if let LinkAttribute::Address(address) = attribute { Some(address) } else { None }
        });
        if read(&message).name == dev {
            return Ok(address.cloned().unwrap_or_default());
        }
    }
    Ok(Vec::new())
}

fn read(message: &LinkMessage) -> Link {
    let mut link = Link {
        name: String::new(),
        kind: LinkKind::Other("device".into()),
        mtu: 0,
        up: message.header.flags.contains(LinkFlags::Up),
        bridge: None,
    };
    for attribute in &message.attributes {
        if let LinkAttribute::IfName(name) = attribute {
            link.name.clone_from(name);
        } else if let LinkAttribute::Mtu(mtu) = attribute {
            link.mtu = *mtu;
        } else if let LinkAttribute::IfAlias(alias) = attribute {
            link.bridge = alias.strip_prefix(ALIAS).map(str::to_string);
        } else if let LinkAttribute::LinkInfo(infos) = attribute {
            link.kind = kind(infos);
        }
    }
    link
}

fn kind(infos: &[LinkInfo]) -> LinkKind {
    let kind = infos.iter().find_map(|info| if let LinkInfo::Kind(kind) = info { Some(kind) } else { None });
    let data = infos.iter().find_map(|info| if let LinkInfo::Data(data) = info { Some(data) } else { None });
    let tunnel = kind.zip(data).and_then(|(kind, data)| tunnel::read(kind, data));
    match (kind, tunnel) {
        (Some(InfoKind::Tun), _) => LinkKind::Tun,
        (Some(_), Some(tunnel)) => LinkKind::Tunnel(tunnel),
        (Some(kind), None) => LinkKind::Other(kind.to_string()),
        (None, _) => LinkKind::Other("device".into()),
    }
}

/// Makes a device that stays, with our mark.
pub(crate) fn create(socket: &mut Socket, link: &Link) -> Result<(), Error> {
    match &link.kind {
        // It becomes persistent last: until then it goes with this process, so that a crash leaves
        // no device without our mark.
        LinkKind::Tun => {
            let device = tun::create(&link.name)?;
            set(socket, link)?;
            device.persist()
        }
        // The kernel takes no alias with the making: until it has one, the journal knows the device.
        LinkKind::Tunnel(_) => {
            make(socket, link)?;
            set(socket, link).inspect_err(|_| {
                // What could not be finished is not left behind; the error told is the first.
                let _ = delete(socket, link);
            })
        }
        LinkKind::Other(kind) => Err(Error::Netlink {
            what: format!("ip link add {} type {kind}", link.name),
            why: "a device of somebody else can't be made anew".into(),
            code: libc::EOPNOTSUPP,
        }),
    }
}

/// Makes a tunnel device of the kernel's, down and without our mark.
pub(crate) fn make(socket: &mut Socket, link: &Link) -> Result<(), Error> {
    let LinkKind::Tunnel(tunnel) = &link.kind else { return Ok(()) };
    let mut message = LinkMessage::default();
    message.attributes = vec![
        LinkAttribute::IfName(link.name.clone()),
        LinkAttribute::Mtu(link.mtu),
        LinkAttribute::LinkInfo(tunnel::info(tunnel)),
    ];
    let what = format!("ip link add {} type {}", link.name, tunnel.format.word());
    socket.change(&what, RouteNetlinkMessage::NewLink(message), NLM_F_CREATE | NLM_F_EXCL)
}

/// Brings a device of ours into the shape it shall have; addresses on it survive.
pub(crate) fn set(socket: &mut Socket, link: &Link) -> Result<(), Error> {
    let alias = format!("{ALIAS}{}", link.bridge.as_deref().unwrap_or_default());
    let inet6 = AfSpecUnspec::Inet6(vec![AfSpecInet6::AddrGenMode(In6AddrGenMode::None)]);
    let mut message = LinkMessage::default();
    message.header.index = index(&link.name)?;
    if let LinkKind::Tunnel(tunnel) = &link.kind {
        message.attributes.push(LinkAttribute::LinkInfo(tunnel::info(tunnel)));
    }
    message.attributes.extend([
        LinkAttribute::IfAlias(alias),
        LinkAttribute::Mtu(link.mtu),
        LinkAttribute::AfSpecUnspec(vec![inet6]),
    ]);
    let what = format!("ip link set {} mtu {}", link.name, link.mtu);
    socket.change(&what, RouteNetlinkMessage::NewLink(message), 0)?;
    // In a request of its own: the kernel looks at the flags before AF_SPEC, and a device that comes
    // up earlier gets a random link-local address (`do_setlink`).
    let mut message = LinkMessage::default();
    message.header.index = index(&link.name)?;
    message.header.change_mask = LinkFlags::Up;
    message.header.flags = if link.up { LinkFlags::Up } else { LinkFlags::empty() };
    socket.change(&format!("ip link set {} up", link.name), RouteNetlinkMessage::SetLink(message), 0)
}

/// Deletes a device.
pub(crate) fn delete(socket: &mut Socket, link: &Link) -> Result<(), Error> {
    let mut message = LinkMessage::default();
    message.header.index = index(&link.name)?;
    socket.change(&format!("ip link del {}", link.name), RouteNetlinkMessage::DelLink(message), 0)
}

pub(crate) fn index(name: &str) -> Result<u32, Error> {
    let socket = rustix::net::socket(rustix::net::AddressFamily::INET, rustix::net::SocketType::DGRAM, None)
        .map_err(|errno| Error::call("socket")(errno.into()))?;
    rustix::net::netdevice::name_to_index(&socket, name).map_err(|_| Error::NoDevice(name.into()))
}
