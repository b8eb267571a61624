//! The file of a tuning: tiles of matrix products and forms of reductions that a search on a device found ([`Tuning`]).

use crate::error::{Error, Result};
use crate::files;
pub use crate::kernels::target::Reductions;
pub use crate::kernels::tiles::{Choice, Entry, Product, Reduction, Tuning};
use std::path::Path;

impl Tuning {
    /// Reads a tuning.
    ///
    /// # Errors
    /// [`Error::Io`], or [`Error::Format`] when the file is no tuning or one of another device.
    pub fn load(path: &Path, device: &str) -> Result<Self> {
        let text = crate::bounded::read(path, crate::bounded::TEXT)?;
        let found: Self = serde_json::from_slice(&text)
            .map_err(|e| Error::format(path, format!("expected the file of a tuning: {e}")))?;
        if found.device != device {
            let message = format!("expected the tuning of {device}, found that of {}", found.device);
            return Err(Error::format(path, message));
        }
        Ok(Self::new(found.device, found.products).with_reductions(found.reductions))
    }

    /// Writes the tuning, whole or not at all.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn save(&self, path: &Path) -> Result<()> {
        let text = serde_json::to_vec_pretty(self).expect("numbers and names");
        files::write_atomically(path, text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::target::Class;
    use crate::kernels::tiles::tests::{FORM, target};

    #[test]
    fn a_tuning_is_written_and_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("tuning.json");
        let entry = |n, choice| Entry { product: Product::of(&FORM, 1000, n), choice, us: 1.0, standard_us: 2.0 };
        let registers = Choice::Registers { rows: 16, cols: 2, shuffle: true };
        let reduction = |kernel: &str, subgroups| Reduction {
            kernel: kernel.into(),
            subgroups,
            workgroup_us: 2.0,
            subgroups_us: 1.0,
        };
        let tuning = Tuning::new("a device".into(), vec![entry(512, registers)])
            .with_reductions(vec![reduction("norm", true), reduction("unit", true)]);
        tuning.save(&path).unwrap();
        assert_eq!(Tuning::load(&path, "a device").unwrap(), tuning);
        let wrong = Tuning::load(&path, "another").unwrap_err().to_string();
        assert!(wrong.contains("expected the tuning of another, found that of a device"), "{wrong}");
        std::fs::write(&path, "{}").unwrap();
        assert!(Tuning::load(&path, "a device").unwrap_err().to_string().contains("expected the file of a tuning"));
        let class = target(Class::CpuDriver { shuffles: true, recent: false });
        let of = |t: &Tuning, m, n| t.choice(&class, &FORM, m, n);
        // The same class of sizes, and another.
        assert_eq!((of(&tuning, 600, 300), of(&tuning, 1025, 512)), (Some(registers), None));
        let other = Choice::Registers { rows: 8, cols: 1, shuffle: false };
        let newer = Tuning::new("a device".into(), vec![entry(64, other)]);
        let both = newer.with_reductions(vec![reduction("unit", false)]).over(tuning);
        assert_eq!((of(&both, 1000, 64), of(&both, 1000, 512)), (Some(other), Some(registers)));
        let within = |t: &Tuning| ["norm", "unit", "squares"].map(|kernel| t.reduces_in_subgroups(kernel));
        assert_eq!(within(&both), [true, false, false]);
        // As it was written before there were reductions in it.
        std::fs::write(&path, r#"{"device": "a device", "products": []}"#).unwrap();
        assert_eq!(within(&Tuning::load(&path, "a device").unwrap()), [false; 3]);
    }
}
