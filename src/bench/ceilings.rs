//! What a device can do at most, measured: memory by size, arithmetic, workgroup memory, launches, transfers, compilers.
//!
//! Each is a small shader in `shaders/ceilings/`, or a loop over the threads of the host, whose result is known: what it
//! leaves is compared with that, and its time has to grow with its work, so that a compiler that leaves work out does not make
//! a ceiling.

mod gpu;
mod host;

use crate::device::Device;
use crate::error::Result;
use serde::{Deserialize, Serialize};

/// One thing that was measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Ceiling {
    /// What: `read`, `f32 multiply-add`.
    pub what: String,
    /// Of how much: `64 KiB`.
    pub size: String,
    /// Bytes that it goes over, for figures by size.
    pub bytes: Option<u64>,
    /// The best of a few runs; `None` where the device cannot do it or its clock stands still.
    pub best: Option<f64>,
    /// The one in the middle.
    pub middle: Option<f64>,
    /// `GB/s`, `GFLOP/s`, `Gop/s`, `us` or `ms`; 10^9 each.
    pub unit: String,
    /// Why there is no figure, or what is wrong with it; empty where all is well.
    pub remark: String,
    /// The result was not what it should be, or the time did not grow with the work.
    pub wrong: bool,
}

impl Ceiling {
    fn absent(what: &str, unit: &str, why: &str) -> Self {
        Self { remark: why.to_owned(), ..Self::of(what, "", unit, Vec::new()) }
    }

    /// Of times, where less is better.
    fn of(what: &str, size: &str, unit: &str, mut values: Vec<f64>) -> Self {
        values.retain(|v| v.is_finite() && *v > 0.0);
        let least = values.iter().copied().reduce(f64::min);
        let middle = least.map(|_| super::median(values));
        let (what, size, unit) = (what.to_owned(), size.to_owned(), unit.to_owned());
        Self { what, size, bytes: None, best: least, middle, unit, remark: String::new(), wrong: false }
    }

    /// `work` units a run that took so many nanoseconds: units a nanosecond, 10^9 a second.
    fn rate(what: &str, size: &str, unit: &str, work: f64, ns: Vec<f64>) -> Self {
        let times = Self::of(what, size, unit, ns);
        let invert = |ns: Option<f64>| ns.map(|ns| work / ns);
        Self { best: invert(times.best), middle: invert(times.middle), ..times }
    }

    fn over(self, bytes: u64) -> Self {
        Self { bytes: Some(bytes), ..self }
    }

    /// Marks it where `check` found something.
    fn checked(self, check: Result<(), String>) -> Self {
        match check {
            Ok(()) => self,
            Err(remark) => Self { remark, wrong: true, ..self },
        }
    }
}

/// Measures all ceilings of `device`.
///
/// # Errors
/// What the device answers. A result that is wrong is no error but marked.
pub fn measure(device: &Device) -> Result<Vec<Ceiling>> {
    match device {
        Device::Gpu(gpu) => gpu::measure(gpu),
        _ => Ok(host::measure()),
    }
}

/// `64 KiB`, `4 MiB`.
fn sized(bytes: u64) -> String {
    match bytes {
        b if b >= 1 << 20 => format!("{} MiB", b >> 20),
        b => format!("{} KiB", b >> 10),
    }
}

/// A time that does not grow when the work doubles is not that of the work.
fn grows(half: f64, whole: f64) -> Result<(), String> {
    match half > 0.0 && whole < 1.25 * half {
        true => Err(format!("twice the work took {:.2} times as long: something was left out", whole / half)),
        false => Ok(()),
    }
}

/// So many passes, or twice as many again and again, until a run takes visibly longer than one of half as many; `best`
/// times a run of so many. What else the machine does may disturb a short run, so one that did not grow is tried longer.
fn settle(
    mut passes: usize,
    most: usize,
    mut best: impl FnMut(usize) -> Result<f64>,
) -> Result<(usize, std::result::Result<(), String>)> {
    let mut tries = 1;
    loop {
        let grown = if passes > 1 { grows(best(passes / 2)?, best(passes)?) } else { Ok(()) };
        if grown.is_ok() || tries == 5 || passes > most / 2 {
            return Ok((passes, grown));
        }
        (passes, tries) = (passes * 2, tries + 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_is_measured_and_right() {
        let all = measure(&Device::host()).unwrap();
        // Whether time grew is not looked at: the machine may be busy.
        let right = |c: &Ceiling| !c.wrong || c.remark.starts_with("twice the work");
        assert!(all.iter().all(|c| right(c) && c.best.is_some_and(|v| v > 0.0)), "{all:?}");
        for what in ["read", "write", "copy", "f32 multiply-add", "integer multiply-add", "parallel loop"] {
            assert!(all.iter().any(|c| c.what == what), "{what}");
        }
    }

    #[test]
    fn rates_and_times_are_of_the_best() {
        let rate = Ceiling::rate("read", "1 KiB", "GB/s", 100.0, vec![50.0, 20.0, 25.0, f64::NAN]);
        assert_eq!((rate.best, rate.middle), (Some(5.0), Some(4.0)));
        let time = Ceiling::of("launch", "", "us", vec![3.0, 2.0, 9.0]);
        assert_eq!((time.best, time.middle), (Some(2.0), Some(3.0)));
        assert!(grows(10.0, 11.0).is_err() && grows(10.0, 19.0).is_ok());
        // A run that was disturbed is tried longer; one whose time stands still is wrong.
        let disturbed = |passes: usize| Ok(if passes < 8 { 50.0 } else { 50.0 + passes as f64 * 10.0 });
        assert_eq!(settle(4, 1 << 20, disturbed).unwrap(), (8, Ok(())));
        let (passes, grown) = settle(4, 1 << 20, |_| Ok(50.0)).unwrap();
        assert!(passes == 64 && grown.unwrap_err().starts_with("twice the work took 1.00 times"));
        assert_eq!(settle(4, 8, |_| Ok(50.0)).unwrap().0, 8);
        assert_eq!(settle(1, 8, |_| Ok(50.0)).unwrap(), (1, Ok(())));
        assert_eq!((sized(16 << 10), sized(3 << 20)), ("16 KiB".into(), "3 MiB".into()));
    }
}
