//! Which of several NAT64s is nearest. Some public ones drop echo requests, so that only a connection tells.

use std::net::{SocketAddrV4, SocketAddrV6};
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, connect, ipproto, socket_with, sockopt};
use straddle_xlat::rfc6052::Prefix;

use super::socket::bind_to_device;

/// How long a TCP connection to an IPv4 service takes to open through each prefix, the fastest first; none for
/// one through which none opened within `patience`. All are tried at once, by `device` where it is given.
#[must_use]
pub fn fastest(
    prefixes: &[Prefix],
    target: SocketAddrV4,
    device: Option<&str>,
    patience: Duration,
) -> Vec<(Prefix, Option<Duration>)> {
    let begin = Instant::now();
    let mut trials: Vec<Trial> =
        prefixes.iter().map(|prefix| Trial::begin(*prefix, target, device)).collect();
    while trials.iter().any(|trial| trial.pending.is_some()) {
        let left = patience.saturating_sub(begin.elapsed());
        if left.is_zero() || !wait(&mut trials, left) {
            break;
        }
    }
    let mut times: Vec<_> = trials.into_iter().map(|trial| (trial.prefix, trial.took)).collect();
    times.sort_by_key(|(_, took)| (took.is_none(), *took));
    times
}

/// A connection that is being opened through a prefix.
struct Trial {
    prefix: Prefix,
    began: Instant,
    pending: Option<OwnedFd>,
    took: Option<Duration>,
}

impl Trial {
    fn begin(prefix: Prefix, target: SocketAddrV4, device: Option<&str>) -> Trial {
        let to = SocketAddrV6::new(prefix.embed(*target.ip()), target.port(), 0, 0);
        let mut trial = Trial { prefix, began: Instant::now(), pending: None, took: None };
        let Ok(socket) = open(device) else { return trial };
        match connect(&socket, &to) {
            Ok(()) => trial.took = Some(trial.began.elapsed()),
            Err(Errno::INPROGRESS) => trial.pending = Some(socket),
            Err(_) => {}
        }
        trial
    }

    /// Its socket has something to say.
    fn end(&mut self) {
        if let Some(socket) = self.pending.take() {
            let opened = matches!(sockopt::socket_error(&socket), Ok(Ok(())));
            self.took = opened.then(|| self.began.elapsed());
        }
    }
}

fn open(device: Option<&str>) -> std::io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::INET6, SocketType::STREAM, flags, Some(ipproto::TCP))?;
    if let Some(device) = device {
        bind_to_device(socket.as_fd(), device)?;
    }
    Ok(socket)
}

/// Ends those that can be ended, after at most `left`; false when waiting fails.
fn wait(trials: &mut [Trial], left: Duration) -> bool {
    let pending = trials.iter().filter_map(|trial| trial.pending.as_ref());
    let mut fds: Vec<PollFd<'_>> = pending.map(|socket| PollFd::new(socket, PollFlags::OUT)).collect();
    let left = Timespec::try_from(left).ok();
    match poll(&mut fds, left.as_ref()) {
        Ok(_) | Err(Errno::INTR) => {}
        Err(_) => return false,
    }
    let ready: Vec<bool> = fds.iter().map(|fd| !fd.revents().is_empty()).collect();
    let pending = trials.iter_mut().filter(|trial| trial.pending.is_some());
    for (trial, _) in pending.zip(ready).filter(|(_, ready)| *ready) {
        trial.end();
    }
    true
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    /// `::1` is 0.0.0.1 behind a prefix that no network has, but this host.
    #[test]
    fn one_opens() {
        let listener = TcpListener::bind("[::1]:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let prefix = |text: &str| Prefix::new(text.parse().unwrap()).unwrap();
        let (here, nowhere) = (prefix("::/96"), prefix("ff01::/96"));
        let check = |prefixes: &[Prefix], port: u16, expected: &[(Prefix, bool)]| {
            let target = SocketAddrV4::new([0, 0, 0, 1].into(), port);
            let times = fastest(prefixes, target, None, Duration::from_secs(5));
            let opened: Vec<_> = times.into_iter().map(|(prefix, took)| (prefix, took.is_some())).collect();
            assert_eq!(opened, expected);
        };
        check(&[here], port, &[(here, true)]);
        check(&[nowhere, here], port, &[(here, true), (nowhere, false)]);
        check(&[nowhere], port, &[(nowhere, false)]);
        check(&[], port, &[]);
        drop(listener);
        check(&[here], port, &[(here, false)]);
    }
}
