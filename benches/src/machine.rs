//! The machine that a benchmark runs on: how fast it is today, how busy, how much room it has.

#![expect(
    clippy::disallowed_methods,
    reason = "measuring time is what it is for"
)]

use std::cell::OnceCell;
use std::collections::HashMap;
use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use serde::{Deserialize, Serialize};

use crate::measure::{Spread, cost, nanoseconds_each};

/// What the calibration loop takes on the machine that the floors were measured on, in CPU ns per record.
pub const REFERENCE_CALIBRATION: f64 = 76.0;

/// CPU nanoseconds per record of a count over a million keys in a `HashMap` of the standard library: half
/// hashing, half memory. Divided by [`REFERENCE_CALIBRATION`] it carries a floor from machine to machine.
pub fn calibrate() -> Spread {
    const RECORDS: u64 = 4_000_000;
    let run = || {
        let mut counts: HashMap<u64, u64> = HashMap::new();
        let mut random = 1_u64;
        for _ in 0..RECORDS {
            random = random
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            *counts.entry((random >> 33) % 1_000_000).or_default() += 1;
        }
        assert_eq!(counts.values().sum::<u64>(), RECORDS);
    };
    Spread::of((0..3).map(|_| nanoseconds_each(cost(run).1.cpu, RECORDS)))
}

/// CPU nanoseconds per record of the calibration loop, before and behind what is measured. The smaller counts: others who use
/// the machine for a while make one of them larger.
pub struct Calibration {
    before: f64,
    behind: OnceCell<f64>,
}

impl Calibration {
    /// Runs the loop for the first time.
    pub fn before() -> Self {
        Calibration {
            before: calibrate().median,
            behind: OnceCell::new(),
        }
    }

    /// One that was measured elsewhere.
    pub fn known(nanoseconds: f64) -> Self {
        Calibration {
            before: nanoseconds,
            behind: OnceCell::from(nanoseconds),
        }
    }

    /// The smaller of both; to be asked for when everything is measured, since the loop runs for the second time then.
    pub fn nanoseconds(&self) -> f64 {
        let behind = self.behind.get_or_init(|| calibrate().median);
        self.before.min(*behind)
    }

    /// What a floor is multiplied with here.
    pub fn scale(&self) -> f64 {
        self.nanoseconds() / REFERENCE_CALIBRATION
    }
}

/// Bytes that may still be written to the disk of `directory`.
///
/// # Errors
/// The directory cannot be looked at.
pub fn free_bytes(directory: &Path) -> io::Result<u64> {
    let disk = rustix::fs::statvfs(directory)?;
    Ok(disk.f_bavail * disk.f_frsize)
}

/// Memory that a process has resident, in bytes.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Resident {
    /// The most it ever had, `VmHWM`.
    pub peak: u64,
    /// What it has, `VmRSS`.
    pub now: u64,
}

impl Resident {
    /// Of this process.
    ///
    /// # Errors
    /// `/proc` does not tell.
    pub fn now() -> io::Result<Self> {
        Self::of(std::process::id())
    }

    /// Of a process.
    ///
    /// # Errors
    /// There is none of this id, or `/proc` does not tell.
    pub fn of(process: u32) -> io::Result<Self> {
        let status = std::fs::read_to_string(format!("/proc/{process}/status"))?;
        let bytes = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            let kilobytes = line.and_then(|line| line.split_whitespace().next());
            let kilobytes: Option<u64> = kilobytes.and_then(|number| number.parse().ok());
            let missing = || io::Error::other(format!("/proc/{process}/status has no {name}"));
            kilobytes.map(|of| of * 1_024).ok_or_else(missing)
        };
        Ok(Resident {
            peak: bytes("VmHWM:")?,
            now: bytes("VmRSS:")?,
        })
    }
}

/// Keeps a thread, and the threads and processes that it starts from then on, on some of its cores until dropped.
pub struct OnCores {
    before: CpuSet,
}

impl OnCores {
    /// Keeps this thread on the first `cores` of the cores that it may use; on all if there are no more.
    ///
    /// # Errors
    /// The system refuses.
    pub fn first(cores: usize) -> io::Result<Self> {
        Self::chosen(|all| all.iter().take(cores).copied().collect())
    }

    /// Keeps this thread off the first `cores` of the cores that it may use; on the last one if there are no more.
    ///
    /// # Errors
    /// The system refuses.
    pub fn behind(cores: usize) -> io::Result<Self> {
        Self::chosen(|all| {
            let skipped = cores.min(all.len().saturating_sub(1));
            all[skipped..].to_vec()
        })
    }

    fn chosen(choose: impl FnOnce(&[usize]) -> Vec<usize>) -> io::Result<Self> {
        let before = sched_getaffinity(None)?;
        let all = (0..CpuSet::MAX_CPU).filter(|core| before.is_set(*core));
        let mut chosen = CpuSet::new();
        for core in choose(&all.collect::<Vec<_>>()) {
            chosen.set(core);
        }
        sched_setaffinity(None, &chosen)?;
        Ok(OnCores { before })
    }
}

impl Drop for OnCores {
    fn drop(&mut self) {
        // These were the thread's cores before.
        let _ = sched_setaffinity(None, &self.before);
    }
}

/// How long [`wait_for_idle`] waited, and how many cores others used at the end of it.
#[derive(Clone, Copy, Debug)]
pub struct Waited {
    /// Time that passed.
    pub waited: Duration,
    /// Cores in use by all processes, over the last look.
    pub busy_cores: f64,
}

/// Waits until all processes together use less than a tenth of a core, at most for `limit`.
///
/// # Errors
/// `/proc/stat` cannot be read.
pub fn wait_for_idle(limit: Duration) -> io::Result<Waited> {
    const LOOK: Duration = Duration::from_millis(500);
    let begin = Instant::now();
    loop {
        let (before, looked) = (busy_ticks()?, Instant::now());
        std::thread::sleep(LOOK);
        let ticks = busy_ticks()?.saturating_sub(before);
        let per_second = rustix::param::clock_ticks_per_second() as f64;
        let busy_cores = ticks as f64 / per_second / looked.elapsed().as_secs_f64();
        let waited = begin.elapsed();
        if busy_cores < 0.1 || waited >= limit {
            return Ok(Waited { waited, busy_cores });
        }
    }
}

/// Clock ticks that the machine has spent on anything but idling and waiting for disks.
fn busy_ticks() -> io::Result<u64> {
    let stat = std::fs::read_to_string("/proc/stat")?;
    let all = stat.lines().next().unwrap_or_default();
    let ticks: Vec<u64> = all
        .split_whitespace()
        .skip(1)
        .filter_map(|field| field.parse().ok())
        .collect();
    // user, nice, system, idle, iowait, irq, softirq, steal; what follows is counted in these already.
    Ok(ticks
        .iter()
        .take(8)
        .enumerate()
        .filter(|(at, _)| !matches!(at, 3 | 4))
        .map(|(_, ticks)| ticks)
        .sum())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_that_was_touched_is_resident() {
        let before = Resident::now().expect("linux tells");
        let touched = vec![1_u8; 32 << 20];
        let after = Resident::now().expect("linux tells");
        assert!(after.now >= before.now + (24 << 20), "{before:?} {after:?}");
        assert!(after.peak >= after.now && touched[1 << 20] == 1);
    }

    #[test]
    fn a_thread_and_those_it_starts_keep_to_the_cores_until_the_guard_is_gone() {
        let cores = || sched_getaffinity(None).expect("linux tells").count();
        let before = cores();
        let pinned = OnCores::first(1).expect("linux lets us");
        let started = std::thread::spawn(cores);
        assert_eq!((cores(), started.join().expect("it only looks")), (1, 1));
        let still = OnCores::behind(1).expect("linux lets us");
        assert_eq!(cores(), 1);
        drop(still);
        drop(pinned);
        let others = OnCores::behind(1).expect("linux lets us");
        assert_eq!(cores(), (before - 1).max(1));
        drop(others);
        assert_eq!(cores(), before);
    }
}
