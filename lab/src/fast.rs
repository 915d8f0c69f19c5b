//! Which of a translator's two paths a lab's packets take.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;

use crate::LabError;
use crate::host::Host;
use crate::report::Check;
use crate::straddle::Straddle;

/// The file's `fast-path`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum FastPath {
    /// Where the kernel takes it.
    #[default]
    Auto,
    /// The kernel translates plain packets.
    Require,
    /// The process translates all.
    Off,
    /// First required; then off and required in turn, as long as questions are asked.
    Switched,
}

/// So many changes, that each question is asked of both paths.
const OFTEN: usize = 6;

impl FastPath {
    /// A file whose last bridge is a translator, with this path.
    pub(crate) fn config(self, before: &str) -> String {
        let word = match self {
            FastPath::Auto => "auto",
            FastPath::Require | FastPath::Switched => "require",
            FastPath::Off => "off",
        };
        format!("{before}fast-path = \"{word}\"\n")
    }

    /// That the paths were changed often, where that was wished.
    pub(crate) fn check(self, switched: usize) -> Option<Check> {
        let wished = self == FastPath::Switched;
        wished.then(|| {
            let name = "the two paths change places while asked";
            Check::new(name, switched >= OFTEN, format!("{switched} times"))
        })
    }

    /// Does `work`, and changes the paths meanwhile where that is wished. Returns how often.
    ///
    /// # Errors
    /// When the work or a change fails.
    pub(crate) fn meanwhile<T>(
        self,
        (before, directory, exe): (&str, &Path, &Path),
        host: &Host,
        work: impl FnOnce() -> Result<T, LabError>,
    ) -> Result<(T, usize), LabError> {
        if self != FastPath::Switched {
            return Ok((work()?, 0));
        }
        let over = AtomicBool::new(false);
        thread::scope(|scope| {
            let switching = scope.spawn(|| -> Result<usize, LabError> {
                let mut count = 0;
                for path in [FastPath::Off, FastPath::Require].into_iter().cycle() {
                    if over.load(Relaxed) {
                        break;
                    }
                    Straddle::within(directory, exe, &path.config(before))?.on(host).up()?;
                    count += 1;
                }
                Ok(count)
            });
            let done = work();
            over.store(true, Relaxed);
            let count = switching.join().map_err(|_| LabError::Guard("the switching panicked".into()))??;
            Ok((done?, count))
        })
    }
}
