//! Tunnels typed by hand that lose packets: each is told, and what is told mends it.

use straddle_lab::LabError;
use straddle_lab::world::Broker;

use crate::common_doctor::{cured, examined};
use crate::{exe, turn};

#[test]
fn tunnels_that_lose_packets() -> Result<(), LabError> {
    let _turn = turn();
    let world = Broker::build()?;
    let vps = &world.vps;
    assert_eq!(examined(vps, exe())?.0, [""; 0]);
    for line in [
        // No ttl: it is inherited.
        "ip tunnel add six mode sit remote 198.51.100.7 local 192.0.2.10",
        "ip link set six mtu 1500 up",
        "ip -6 tunnel add wrap mode ipip6 remote 2001:db8:c11::10 local 2001:db8:1::77 encaplimit none",
        "ip link set wrap up",
    ] {
        vps.run(&["sh", "-c", line])?;
    }
    let expected = ["tunnel-from-nowhere wrap", "tunnel-mtu-too-large six", "tunnel-inherits-hop-limit six"];
    cured(vps, exe(), &expected, "2001:db8:1::10")
}
