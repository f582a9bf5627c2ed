//! Applications that abuse the memory that they share with a driver. Each is a process of its own, because it may well
//! be the first to suffer.

use logothete::failure::Failure;
use logothete_client::{Options, Session};
use logothete_engine::service::kv::Command;
use logothete_simulator::world::random::Random;
use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, Instant};

/// How it misbehaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Abuse {
    /// Writes random words into the region while it uses it.
    Racer,
    /// Writes extreme indices into the heads of the region.
    Indices,
    /// Sends and never reads an answer.
    Deaf,
    /// Opens and closes sessions without end.
    Storm,
    /// Sends, and is killed in the middle of it; whoever started it does that.
    Victim,
}

/// What the kernel calls shared memory without a name in a process's list of mappings.
const SHARED_MEMORY: &str = "memfd:";

/// Bytes from the start of the region that hold its indices: every ring's head, generously.
const HEADS_BYTES: u64 = 4096;

/// A pause after a session was refused or ended, so that the driver has its turn.
const PAUSE: Duration = Duration::from_millis(1);

/// Misbehaves at the driver that listens at `session` until the time is over. Returns how often it had to begin again.
///
/// # Errors
///
/// When the system refuses to say where the shared memory is.
pub fn misbehave(session: &Path, abuse: Abuse, duration: Duration, seed: u64) -> Result<u64, Failure> {
    let (begin, mut chance, mut sessions) = (Instant::now(), Random::new(seed), 0);
    while begin.elapsed() < duration {
        // Refusals are what a driver should answer such applications with.
        if let Ok(mut session) = Session::connect(session, Options::default()) {
            sessions += 1;
            match abuse {
                Abuse::Storm => {}
                Abuse::Racer => scribble(&mut session, &mut chance, u64::MAX, begin + duration)?,
                Abuse::Indices => scribble(&mut session, &mut chance, HEADS_BYTES, begin + duration)?,
                Abuse::Deaf | Abuse::Victim => send_only(&mut session, begin + duration),
            }
        }
        if abuse != Abuse::Storm {
            std::thread::sleep(PAUSE);
        }
    }
    Ok(sessions)
}

/// A put that touches none of the keys of judged clients, which are longer.
fn put() -> Vec<u8> {
    Command::Put { key: b"abuse", value: &[7; 64] }.encode_to_vec()
}

/// Uses a session while it writes words into the first `bytes` of its region, until the session or the time ends.
fn scribble(session: &mut Session, chance: &mut Random, bytes: u64, until: Instant) -> Result<(), Failure> {
    let failed = |error: std::io::Error| Failure::Failed(format!("where is the shared memory? {error}"));
    let (start, length) = shared_memory().map_err(failed)?;
    // Written through the kernel, so that the abuse needs no pointer.
    let memory = OpenOptions::new().write(true).open("/proc/self/mem").map_err(failed)?;
    let operation = put();
    while Instant::now() < until {
        let sent = session.try_call(&operation).is_ok();
        for _ in 0..16 {
            corrupt(&memory, start, length.min(bytes), chance).map_err(failed)?;
        }
        let ended = session.poll(|_| ()).is_err();
        if ended || !sent {
            return Ok(());
        }
    }
    Ok(())
}

fn corrupt(memory: &File, start: u64, length: u64, chance: &mut Random) -> std::io::Result<()> {
    let word = match chance.below(4) {
        0 => u64::MAX,
        1 => 1 << 63,
        2 => chance.draw() % (2 * length),
        _ => chance.draw(),
    };
    let at = start + chance.draw() % (length / 8) * 8;
    memory.write_all_at(&word.to_le_bytes(), at)
}

/// Where this process's latest region of shared memory is mapped, and how long it is.
fn shared_memory() -> std::io::Result<(u64, u64)> {
    let maps = std::fs::read_to_string("/proc/self/maps")?;
    let region = maps.lines().rfind(|line| line.contains(SHARED_MEMORY)).and_then(range);
    region.ok_or_else(|| std::io::Error::other("no mapping of a memfd"))
}

/// The range of a line of `/proc/PID/maps`: where it starts and how long it is.
fn range(line: &str) -> Option<(u64, u64)> {
    let (start, rest) = line.split_once('-')?;
    let (end, _) = rest.split_once(' ')?;
    let number = |digits| u64::from_str_radix(digits, 16).ok();
    let (start, end) = (number(start)?, number(end)?);
    Some((start, end.checked_sub(start)?))
}

/// Sends whatever fits, and never looks at an answer.
fn send_only(session: &mut Session, until: Instant) {
    let operation = put();
    while Instant::now() < until {
        match session.try_call(&operation) {
            Ok(_) => session.flush(),
            Err(logothete_client::ClientError::Overloaded) => std::thread::sleep(PAUSE),
            Err(_) => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mappings_are_read() {
        let line = "7f0000001000-7f0000003000 rw-s 00000000 00:01 1028 /memfd:logothete (deleted)";
        assert_eq!(range(line), Some((0x7f00_0000_1000, 0x2000)));
        assert_eq!(range("nonsense"), None);
    }
}
