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

use straddle_intent::invite::{Format, Invitation};
use straddle_intent::model;
use straddle_lab::host::Host;
use straddle_lab::probe::{ping, stream};
use straddle_lab::process::Process;
use straddle_lab::straddle::Straddle;
use straddle_lab::world::Broker;
use straddle_lab::{LabError, wait};

use crate::{exe, turn};

/// In one world, since each takes its time to build: one after another, each taken away before the next.
#[test]
fn each_format_brings_up_its_client() -> Result<(), LabError> {
    let _turn = turn();
    let world = Broker::build()?;
    let straddle = Straddle::within(world.directory(), exe(), Broker::FIXED)?;
    straddle.on(&world.vps).up()?;
    for format in [Format::Iproute2, Format::Ifupdown, Format::Networkd, Format::Netplan] {
        println!("... {}", format.name());
        let shed = straddle.on(&world.vps).verb(&["invite", "shed", "--as", format.name()])?.stdout;
        let clients = [(&world.shed, shed), (&world.box_, wandering(format))];
        let running = clients.each_ref().map(|(host, text)| brought_up(&world, host, format, text));
        reached(&world)?;
        for ((host, text), process) in clients.iter().zip(running) {
            taken_away(&world, host, (format, text), process?)?;
        }
    }
    straddle.on(&world.vps).down().map(drop)
}

/// Brings up a client with its text. A process that has to stay is returned.
fn brought_up(world: &Broker, host: &Host, format: Format, text: &str) -> Result<Option<Process>, LabError> {
    let with_lan = host.name() == "shed";
    match format {
        Format::Iproute2 => {
            // Again, as at each boot.
            host.run(&["sh", "-ec", text])?;
            host.run(&["sh", "-ec", text]).map(|_| None)
        }
        Format::Ifupdown => interfaces(world, host, "ifup", text).map(|()| None),
        Format::Networkd => {
            // The file of the LAN is the client's own: as the comment says.
            let own = "cat >/etc/systemd/network/50-eth1.network <<'OWN'\n[Match]\nName=eth1\n\n\
                       [Network]\nAddress=2001:db8:102::1/64\nIPv6AcceptRA=no\nOWN\n";
            let own = if with_lan { own } else { "" };
            networkd(world, host, &format!("{own}{text}")).map(Some)
        }
        Format::Netplan => {
            // `apply` restarts networkd by systemd, which no namespace has.
            let applied = "netplan generate\nnetworkctl reload\n";
            let script = if with_lan {
                text.replace("\nnetplan apply\n", &format!("\n{applied}"))
            } else {
                format!("(umask 077; cat >/etc/netplan/60-st-box.yaml <<'OWN'\n{text}OWN\n)\n{applied}")
            };
            networkd(world, host, &script).map(Some)
        }
        Format::Straddle | Format::Openwrt => unreachable!("nothing here reads it"),
    }
}

/// A client's tunnel and its LAN, from both sides.
fn reached(world: &Broker) -> Result<(), LabError> {
    for (host, own) in [(&world.box_, Broker::BOX), (&world.shed, Broker::SHED)] {
        crosses(world, host, own)?;
    }
    wait::until("the LAN to be reached", FIRST, || {
        ping(&world.web, Broker::PC.into(), 1).ok().filter(|ping| ping.complete())
    })?;
    // A packet in, its error out, what neighbours ask; a loop takes more than sixty.
    let before = sent(&world.shed)?;
    assert_eq!(ping(&world.web, Broker::UNASSIGNED[1].into(), 1)?.received, 0);
    let sent = sent(&world.shed)? - before;
    assert!(sent < 10, "{sent} packets for one to nobody");
    Ok(())
}

/// As the text says it is undone, where it says so.
fn taken_away(
    world: &Broker,
    host: &Host,
    (format, text): (Format, &str),
    process: Option<Process>,
) -> Result<(), LabError> {
    match (format, process) {
        (Format::Iproute2, _) => {
            let (_, undo) = text.split_once("# To undo it:\n").unwrap();
            host.run(&["sh", "-ec", &undo.replace("#   ", "")])?;
        }
        (Format::Ifupdown, _) => interfaces(world, host, "ifdown", text)?,
        (_, process) => {
            process.map(|process| process.stop(END)).transpose()?;
            let lan =
                "ip -6 route delete unreachable 2001:db8:102::/48; ip -6 address flush dev eth1 scope global";
            let lan = if host.name() == "shed" { lan } else { "" };
            host.run(&["sh", "-ec", &format!("ip link delete st-{}; {lan}", host.name())])?;
        }
    }
    let left = host.run(&["sh", "-c", "ip -6 route show table all; ip -6 address; ip link"])?.stdout;
    let ours = [format!("st-{}", host.name()), "2001:db8:102:".into()];
    assert!(!ours.iter().any(|word| left.contains(word)), "{}: {left}", format.name());
    Ok(())
}

fn interfaces(world: &Broker, host: &Host, verb: &str, text: &str) -> Result<(), LabError> {
    let file = written(world, host, text)?;
    let state = world.directory().join(format!("{}-ifstate", host.name())).display().to_string();
    host.run(&["mkdir", "-p", &state])?;
    let device = format!("st-{}", host.name());
    host.run(&[verb, "--interfaces", &file, "--state-dir", &state, &device]).map(drop)
}

/// The text for a client whose address changes.
fn wandering(format: Format) -> String {
    let dynamic = "client = \"box\"\nclient-endpoint = \"dynamic\"\nupdate-key-file = \"/box.key\"";
    let url = "[host.vps]\nupdate-url = \"http://192.0.2.10\"";
    let file = Broker::FIXED.replace("client = \"box\"", dynamic).replace("[host.vps]", url);
    let model = model::read(&file).unwrap();
    let invitation = Invitation::to(&model, "box").unwrap();
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
bus=$!
/lib/systemd/systemd-networkd &
networkd=$!
trap 'kill $networkd; wait $networkd || true; kill $bus; exit 0' TERM
asked='org.freedesktop.network1 /org/freedesktop/network1 org.freedesktop.network1.Manager OperationalState'
until busctl --auto-start=no get-property $asked >/dev/null 2>&1; do sleep 0.2; done
sh -ex $1
echo the script has run
wait
";
const FIRST: Duration = Duration::from_secs(30);
const END: Duration = Duration::from_secs(10);
