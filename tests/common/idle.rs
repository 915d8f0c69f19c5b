//! What idle connections through a relay cost.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;

use straddle_lab::LabError;
use straddle_lab::process::Process;
use straddle_lab::straddle::Straddle;
use straddle_lab::world::Rented;

/// So many idle connections stay within their share of the 200 MB that 20,000 may take, and still work. Returns what they
/// took.
pub(crate) fn cost_little(exe: &Path, count: usize) -> Result<String, LabError> {
    let world = Rented::build()?;
    let config = format!(
        "[host.vps]\nuplink = \"eth0\"\nipv6 = \"{}\"\n\n[[relay]]\nhost = \"vps\"\nlisten = \"tcp4/7000-7001\"\n\
         to = \"[{}]:7000\"\n",
        Rented::VPS6,
        Rented::HOME
    );
    let straddle = Straddle::within(world.directory(), exe, &config)?;
    let running = straddle.on(&world.vps).run()?;
    let empty = resident(&running);
    world.home.sysctl("net/core/somaxconn", "4096")?;
    let mut held = Vec::new();
    // 28,000 ports lead from one address to another one's port.
    for port in [7000, 7001] {
        let listener = world.home.inside(|| TcpListener::bind((Rented::HOME, port)))?.unwrap();
        let target = SocketAddr::new(Rented::VPS.into(), port);
        world.client.inside(|| {
            for _ in 0..count / 2 {
                let mut client = TcpStream::connect(target).unwrap();
                client.write_all(b"x").unwrap();
                let mut served = listener.accept().unwrap().0;
                served.read_exact(&mut [0]).unwrap();
                served.write_all(b"y").unwrap();
                client.read_exact(&mut [0]).unwrap();
                held.push((client, served));
            }
        })?;
    }
    let full = resident(&running);
    let told =
        format!("{} idle connections: {} kB resident, {} kB before", held.len(), full / 1000, empty / 1000);
    assert!(full < 200_000_000 / 20_000 * held.len(), "{told}");
    // They all still work.
    for (client, served) in held.iter_mut().step_by(97) {
        client.write_all(b"x").unwrap();
        served.read_exact(&mut [0]).unwrap();
    }
    Ok(told)
}

/// Resident memory in bytes.
fn resident(process: &Process) -> usize {
    let status = fs::read_to_string(format!("/proc/{}/status", process.id())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() * 1024
}
