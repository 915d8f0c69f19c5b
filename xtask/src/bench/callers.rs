//! New connections: a byte there, a byte back, and the end.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use straddle_lab::LabError;
use straddle_lab::host::Host;

/// Callers at once, and as many who answer.
const THREADS: usize = 24;
const SECOND: Duration = Duration::from_secs(1);

/// Answers each connection, and closes it first: so no port of the callers waits for its time.
pub(super) struct Server {
    ended: Arc<AtomicBool>,
    address: SocketAddr,
    host: Host,
    threads: Vec<JoinHandle<()>>,
}

impl Server {
    pub(super) fn start(host: &Host, address: SocketAddr) -> Result<Server, LabError> {
        let trouble = |source| LabError::Io { doing: "listening for callers".into(), source };
        let listener = host.inside(|| TcpListener::bind(address))?.map_err(trouble)?;
        let ended = Arc::new(AtomicBool::new(false));
        let mut threads = Vec::new();
        for _ in 0..THREADS {
            let (listener, ended) = (listener.try_clone().map_err(trouble)?, ended.clone());
            threads.push(thread::spawn(move || {
                while !ended.load(Relaxed) {
                    let Ok((mut stream, _)) = listener.accept() else { continue };
                    // Whoever says nothing gets nothing.
                    let _ = stream.read(&mut [0; 1]).and_then(|_| stream.write(b"y"));
                }
            }));
        }
        Ok(Server { ended, address, host: host.clone(), threads })
    }

    pub(super) fn stop(self) {
        self.ended.store(true, Relaxed);
        for _ in 0..THREADS {
            // Each that waits is woken.
            let _ = self.host.inside(|| TcpStream::connect(self.address).map(drop));
        }
        for thread in self.threads {
            let _ = thread.join();
        }
    }
}

/// How many connections were made and answered in a second.
pub(super) fn rate(host: &Host, target: SocketAddr) -> Result<f64, LabError> {
    let done = AtomicUsize::new(0);
    let took = host.inside(|| {
        let began = Instant::now();
        thread::scope(|scope| {
            for _ in 0..THREADS {
                scope.spawn(|| {
                    while began.elapsed() < SECOND {
                        if called(target).is_ok_and(|answered| answered) {
                            done.fetch_add(1, Relaxed);
                        }
                    }
                });
            }
        });
        began.elapsed()
    })?;
    Ok(done.load(Relaxed) as f64 / took.as_secs_f64())
}

/// Until the other side closes.
fn called(target: SocketAddr) -> std::io::Result<bool> {
    let mut stream = TcpStream::connect_timeout(&target, SECOND)?;
    stream.set_read_timeout(Some(SECOND))?;
    stream.write_all(b"x")?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    Ok(answer == b"y")
}
