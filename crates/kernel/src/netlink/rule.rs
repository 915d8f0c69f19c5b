use std::net::{IpAddr, Ipv4Addr};

use ipnet::IpNet;
use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::route::RouteProtocol;
use netlink_packet_route::rule::{RuleAction, RuleAttribute, RuleHeader, RuleMessage};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use straddle_intent::object::{Origin, Rule, Selector};
use straddle_intent::words;

use super::{MARK, Socket, origin};
use crate::Error;

/// Routes of this length and shorter count as none: a default route, and a half of one.
const SUPPRESSED: u32 = 1;

/// Every IPv4 rule, and those of IPv6 that are for a source.
pub(crate) fn dump(socket: &mut Socket) -> Result<Vec<Rule>, Error> {
    let mut rules = Vec::new();
    for family in [AddressFamily::Inet, AddressFamily::Inet6] {
        let mut message = RuleMessage::default();
        message.header.family = family;
        let found = socket.dump("list rules", &RouteNetlinkMessage::GetRule(message))?;
        let read = |object: super::Found| {
            let RouteNetlinkMessage::NewRule(message) = object.message else { return None };
            Some(read(&message))
        };
        // What else there is of IPv6 would look like a rule of IPv4.
        let known = |rule: &Rule| family == AddressFamily::Inet || matches!(rule.selector, Selector::From(_));
        rules.extend(found.into_iter().filter_map(read).filter(known));
    }
    Ok(rules)
}

fn read(message: &RuleMessage) -> Rule {
    let mut rule = Rule {
        priority: 0,
        selector: Selector::Other,
        table: message.header.table.into(),
        no_default: false,
        origin: Origin::Other(0),
    };
    for attribute in &message.attributes {
        if let RuleAttribute::Priority(priority) = attribute {
            rule.priority = *priority;
        } else if let RuleAttribute::Iifname(dev) = attribute {
            rule.selector = Selector::Incoming(dev.clone());
        } else if let RuleAttribute::Source(source) = attribute {
            rule.selector =
                IpNet::new(*source, message.header.src_len).map_or(Selector::Other, Selector::From);
        } else if let RuleAttribute::FwMark(mark) = attribute {
            rule.selector = Selector::Marked(*mark);
        } else if let RuleAttribute::Table(table) = attribute {
            rule.table = *table;
        } else if let RuleAttribute::SuppressPrefixLen(length) = attribute {
            rule.no_default = *length == SUPPRESSED;
        } else if let RuleAttribute::Protocol(protocol) = attribute {
            rule.origin = origin(*protocol);
        }
    }
    rule
}

/// Adds a rule.
pub(crate) fn add(socket: &mut Socket, rule: &Rule) -> Result<(), Error> {
    let what = format!("ip rule add {}", words::rule(rule));
    socket.change(&what, RouteNetlinkMessage::NewRule(message(rule)), NLM_F_CREATE | NLM_F_EXCL)
}

/// Deletes a rule.
pub(crate) fn delete(socket: &mut Socket, rule: &Rule) -> Result<(), Error> {
    let what = format!("ip rule del {}", words::rule(rule));
    socket.change(&what, RouteNetlinkMessage::DelRule(message(rule)), 0)
}

fn family(rule: &Rule) -> AddressFamily {
    match rule.selector {
        Selector::From(IpNet::V6(_)) => AddressFamily::Inet6,
        Selector::From(IpNet::V4(_)) | Selector::Incoming(_) | Selector::Marked(_) | Selector::Other => {
            AddressFamily::Inet
        }
    }
}

fn message(rule: &Rule) -> RuleMessage {
    let mut message = RuleMessage::default();
    message.header =
        RuleHeader { family: family(rule), action: RuleAction::ToTable, ..RuleHeader::default() };
    message.attributes = vec![
        RuleAttribute::Priority(rule.priority),
        RuleAttribute::Table(rule.table),
        RuleAttribute::Protocol(RouteProtocol::from(MARK)),
    ];
    match &rule.selector {
        Selector::Incoming(dev) => message.attributes.push(RuleAttribute::Iifname(dev.clone())),
        Selector::From(net) => {
            message.header.src_len = net.prefix_len();
            message.attributes.push(RuleAttribute::Source(net.network()));
        }
        Selector::Marked(mark) => message.attributes.push(RuleAttribute::FwMark(*mark)),
        Selector::Other => message.attributes.push(RuleAttribute::Source(IpAddr::V4(Ipv4Addr::UNSPECIFIED))),
    }
    if rule.no_default {
        message.attributes.push(RuleAttribute::SuppressPrefixLen(SUPPRESSED));
    }
    message
}
