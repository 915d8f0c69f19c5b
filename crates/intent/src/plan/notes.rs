//! What a user should know before the steps are taken.

use crate::object::{Key, MAIN, Object, Origin, RouteKind, Wanted};
use crate::snapshot::Snapshot;
use crate::words;

use super::{Plan, firewall};

impl Plan {
    /// One sentence each.
    pub fn notes(&self, live: &Snapshot) -> Vec<String> {
        let about = self.wanted.iter().flat_map(|wanted| self.about(wanted, live));
        self.remarks.iter().cloned().chain(about).chain(firewall::barred(self, live)).collect()
    }

    fn about(&self, wanted: &Wanted, live: &Snapshot) -> Vec<String> {
        match wanted {
            Wanted::Vacant { address, dev } => {
                let another = live.addresses.iter().any(|held| {
                    let ip = held.net.addr();
                    let leaves = self.wanted.iter().any(|wanted| wanted.key() == Key::Vacant(ip));
                    held.dev != "lo" && held.origin != Origin::Straddle && ip.is_ipv4() && !leaves
                });
                let left = if another { "at its other addresses" } else { "over IPv6" };
                vec![format!("once {address} has left {dev}, this host itself is reached {left} only")]
            }
            Wanted::Object(Object::Route(ours)) if ours.table == MAIN && ours.dst.prefix_len() == 0 => {
                let before = live.routes.iter().filter(|route| {
                    let same =
                        route.table == MAIN && route.dst == ours.dst && route.kind == RouteKind::Unicast;
                    same && route.origin != Origin::Straddle && route.metric < ours.metric
                });
                // A lender's own default goes with its address; what stays in front is another's.
                let stays = before.filter(|route| route.dev != ours.dev);
                stays
                    .map(|route| format!("`{}` is not ours and stays in front", words::route(route)))
                    .collect()
            }
            Wanted::Object(_)
            | Wanted::Sysctl(_)
            | Wanted::LooseReversePath { .. }
            | Wanted::Pinned { .. } => {
                vec![]
            }
        }
    }
}
