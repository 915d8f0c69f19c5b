//! What `straddle invite` prints for clients without Straddle, brought up by the tools that it is for, with Straddle
//! as the server.
//!
//! ```text
//!  web ── inet ── vps       the shed's address is in its text; the box's is not, as where it changes
//!         │  │
//!        box shed ── pc
//! ```

use std::net::Ipv6Addr;
use std::time::Duration;

use straddle_intent::invite::{Format, Http, Invitation};
use straddle_intent::model;
use straddle_lab::host::Host;
use straddle_lab::probe::{ping, stream};
use straddle_lab::process::Process;
use straddle_lab::straddle::Straddle;
use straddle_lab::world::Broker;
use straddle_lab::{LabError, wait};

use crate::{exe, turn};

/// The server's file: both clients' addresses are known to it.
const FILE: &str = r#"[host.vps]
uplink = "eth0"
ipv4 = "192.0.2.10/24"
ipv6 = "2001:db8:1::10"

[host.box]
uplink = "eth0"
ipv4 = "198.51.100.7/24"

[host.shed]
uplink = "eth0"
ipv4 = "203.0.113.9/24"

[[tunnel6]]
name = "box"
server = "vps"
client = "box"
link = "2001:db8:1::a2/127"
pool = "2001:db8:100::/40"

[[tunnel6]]
name = "shed"
server = "vps"
client = "shed"
link = "2001:db8:1::a4/127"
routed = "2001:db8:102::/48"
lan = "eth1"
"#;

/// Brings up a client with its text; a process that has to stay is returned.
type Bring = fn(&Broker, &Host, &str) -> Result<Option<Process>, LabError>;

#[test]
fn by_ip() -> Result<(), LabError> {
    brought_up(Format::Iproute2, |_, host, text| {
        // Again, as at each boot.
        host.run(&["sh", "-ec", text])?;
        host.run(&["sh", "-ec", text]).map(|_| None)
    })
}

#[test]
fn by_ifupdown() -> Result<(), LabError> {
    brought_up(Format::Ifupdown, |world, host, text| {
        let file = written(world, host, text)?;
        let state = world.directory().join(format!("{}-ifstate", host.name()));
        host.run(&["mkdir", &state.display().to_string()])?;
        let device = format!("st-{}", host.name());
        for verb in ["ifup", "ifdown", "ifup"] {
            let state = state.display().to_string();
            host.run(&[verb, "--interfaces", &file, "--state-dir", &state, &device])?;
            let left = host.ip_json("-6 route show table all")?.to_string();
            assert_eq!(left.contains(&device), verb == "ifup", "{verb}: {left}");
            let nowhere = verb == "ifup" && host.name() == "shed";
            assert_eq!(left.contains("2001:db8:102::/48"), nowhere, "{verb}: {left}");
        }
        Ok(None)
    })
}

#[test]
fn by_networkd() -> Result<(), LabError> {
    brought_up(Format::Networkd, |world, host, text| {
        // The file of the LAN is the client's own: as the comment says.
        let own = "cat >/etc/systemd/network/50-eth1.network <<'OWN'\n[Match]\nName=eth1\n\n\
                   [Network]\nAddress=2001:db8:102::1/64\nIPv6AcceptRA=no\nOWN\n";
        let own = if host.name() == "shed" { own } else { "" };
        networkd(world, host, &format!("{own}{text}")).map(Some)
    })
}

#[test]
fn by_netplan() -> Result<(), LabError> {
    brought_up(Format::Netplan, |world, host, text| {
        // `apply` restarts networkd by systemd, which no namespace has.
        let applied = "netplan generate && networkctl reload";
        let text = if text.contains("netplan apply\n") && host.name() == "shed" {
            text.replace("\nnetplan apply\n", &format!("\n{applied}\n"))
        } else {
            format!("(umask 077; cat >/etc/netplan/60-st-box.yaml <<'OWN'\n{text}OWN\n)\n{applied}\n")
        };
        networkd(world, host, &text).map(Some)
    })
}

fn brought_up(format: Format, bring: Bring) -> Result<(), LabError> {
    let _turn = turn();
    let world = Broker::build()?;
    let straddle = Straddle::within(world.directory(), exe(), FILE)?;
    straddle.on(&world.vps).up()?;
    let printed = straddle.on(&world.vps).verb(&["invite", "shed", "--as", format.name()])?.stdout;
    let running = [bring(&world, &world.shed, &printed)?, bring(&world, &world.box_, &wandering(format))?];
    for (host, own) in [(&world.box_, Broker::BOX), (&world.shed, Broker::SHED)] {
        crosses(&world, host, own)?;
    }
    wait::until("the LAN to be reached", FIRST, || {
        ping(&world.web, Broker::PC.into(), 1).ok().filter(|ping| ping.complete())
    })?;
    // A packet in, its error out, what neighbours ask; a loop takes more than sixty.
    let before = sent(&world.shed)?;
    assert_eq!(ping(&world.web, Broker::UNASSIGNED[1].into(), 1)?.received, 0);
    let sent = sent(&world.shed)? - before;
    assert!(sent < 10, "{sent} packets for one to nobody");
    straddle.on(&world.vps).down()?;
    running.into_iter().flatten().try_for_each(|process| process.stop(END).map(drop))
}

/// The text for a client whose address changes.
fn wandering(format: Format) -> String {
    let dynamic = "client = \"box\"\nclient-endpoint = \"dynamic\"\nkey-file = \"/box.key\"";
    let model = model::read(&FILE.replace("client = \"box\"", dynamic)).unwrap();
    let mut invitation = Invitation::to(&model, "box").unwrap();
    invitation.http = Some(Http { url: "https://vps.example/nic/update".into(), user: "box".into() });
    let text = invitation.handout(format).text();
    assert!(!text.contains("198.51.100.7"), "{text}");
    text
}

fn crosses(world: &Broker, client: &Host, own: Ipv6Addr) -> Result<(), LabError> {
    for (from, to) in [(client, Broker::WEB), (&world.web, own)] {
        wait::until(&format!("{to} to answer {}", from.name()), FIRST, || {
            ping(from, to.into(), 1).ok().filter(|ping| ping.complete())
        })?;
        assert!(ping(from, to.into(), 10)?.received >= 9, "{} → {to}", from.name());
    }
    let tcp = stream(client, &world.web, Broker::WEB.into())?;
    assert_eq!(tcp.map(|tcp| tcp.seen_by_server), Some(own.into()), "{}: TCP", client.name());
    let link = client.ip_json(&format!("-details link show st-{}", client.name()))?;
    assert_eq!((&link[0]["mtu"], &link[0]["linkinfo"]["info_kind"]), (&1480.into(), &"sit".into()), "{link}");
    assert_eq!(link[0]["linkinfo"]["info_data"]["ttl"], 64, "{link}");
    Ok(())
}

/// Packets that a client has sent by its tunnel.
fn sent(client: &Host) -> Result<u64, LabError> {
    let file = format!("/sys/class/net/st-{}/statistics/tx_packets", client.name());
    Ok(client.run(&["cat", &file])?.stdout.trim().parse().unwrap())
}

fn written(world: &Broker, host: &Host, text: &str) -> Result<String, LabError> {
    let file = world.directory().join(format!("{}-invited", host.name())).display().to_string();
    std::fs::write(&file, text)
        .map_err(|error| LabError::Unreadable { tool: "write", text: error.to_string() })?;
    Ok(file)
}

/// systemd-networkd of a host's own, with a message bus, in front of which folders of the system are hidden; it
/// returns when the script has run beside it.
fn networkd(world: &Broker, host: &Host, script: &str) -> Result<Process, LabError> {
    let script = written(world, host, script)?;
    let mut command = host.command("sh");
    command.args(["-ec", NETWORKD, "networkd", &script]);
    let mut process =
        Process::start(command, &world.directory().join(format!("{}-networkd.log", host.name())))?;
    process.says("the script has run", Duration::from_secs(120))?;
    Ok(process)
}

/// `ip netns exec` has given it a mount namespace. With a read-only /sys it waits for no udev.
const NETWORKD: &str = "
for at in /run/systemd /run/dbus /etc/systemd/network /etc/netplan /etc/sysctl.d; do
    mkdir -p $at
    mount -t tmpfs none $at
done
mkdir -p /run/systemd/netif/links /run/systemd/netif/leases /run/systemd/netif/lldp
chown -R systemd-network:systemd-network /run/systemd/netif
mount -o remount,bind,ro /sys
dbus-daemon --system --nofork --nopidfile &
/lib/systemd/systemd-networkd &
until networkctl >/dev/null 2>&1; do sleep 0.2; done
sh -ex $1
echo the script has run
wait
";
const FIRST: Duration = Duration::from_secs(30);
const END: Duration = Duration::from_secs(10);
