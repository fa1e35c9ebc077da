//! One process per state directory.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;
use std::thread;
use std::time::Duration;

use super::OpenError;

/// The held lock of a state directory; the kernel frees it with the file, also when the process is killed.
#[derive(Debug)]
pub(super) struct Lock {
    _file: File,
}

impl Lock {
    /// Makes the directory if need be (for its owner only) and locks it.
    pub(super) fn take(dir: &Path) -> Result<Self, OpenError> {
        let failed = |operation, path: &Path| {
            let path = path.to_owned();
            move |source: io::Error| OpenError::Files {
                operation,
                path,
                source,
            }
        };
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(dir)
            .map_err(failed("make the state directory", dir))?;
        let path = dir.join("lock");
        // Not truncated on opening: until the lock is ours the number in it is the holder's.
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(failed("open the lock file", &path))?;
        let mut patience = INHERITED;
        while let Err(error) = file.try_lock() {
            let pid = match error {
                TryLockError::WouldBlock => holder(&mut file),
                TryLockError::Error(source) => return Err(failed("lock", &path)(source)),
            };
            // A child that this process has just started holds the lock, too, until it is another program.
            if pid != Some(std::process::id()) || patience == 0 {
                let dir = dir.to_owned();
                return Err(OpenError::Locked { dir, pid });
            }
            patience -= 1;
            thread::sleep(AGAIN);
        }
        sign(&mut file).map_err(failed("write the lock file", &path))?;
        Ok(Self { _file: file })
    }
}

/// How many times a lock is asked for again that our own number is on, and after how long.
const INHERITED: u32 = 20;
const AGAIN: Duration = Duration::from_millis(5);

/// Who wrote themselves into the lock file.
fn holder(file: &mut File) -> Option<u32> {
    let mut text = String::new();
    // A process number has at most ten digits; anything longer was not written by us.
    file.rewind().ok()?;
    file.take(16).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

fn sign(file: &mut File) -> io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    writeln!(file, "{}", std::process::id())
}
