//! What a plan is made for: the class and family of a device, its size, and how to plan for another.

use super::Kernel;
use super::matmul_coop::Coop;
use super::tiles::Tuning;
use crate::error::{Error, Result};
use std::fmt;
use std::str::FromStr;

/// What the planner needs to know of a device.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Target {
    /// Which matmul tiles and grids suit it.
    pub class: Class,
    /// Whose GPU it is; [`Family::Unknown`] for all that is none.
    pub family: Family,
    /// f16 in shaders.
    pub native_f16: bool,
    /// Largest bytes of one binding.
    pub max_binding: u64,
    /// Parallel units to keep busy (a rough number; decides how far a long sum is split).
    pub units: u32,
    /// Cooperative matrices, where they may be used.
    pub coop: Option<Coop>,
    /// Tiles of matrix products that were found by measurement, and which kernels reduce within subgroups.
    pub tuning: Option<&'static Tuning>,
    /// Where kernels reduce within subgroups.
    pub reductions: Reductions,
}

/// Which of the kernels that reduce over a workgroup do so within subgroups first (`shaders/common/lanes.wgsl`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reductions {
    /// None: the device has no operations of subgroups, or is told to leave them.
    #[default]
    Workgroup,
    /// Those that the tuning names, where it was faster.
    AsMeasured,
    /// All, whatever it takes: for measurements and tests.
    Subgroups,
}

impl Target {
    /// Whether a kernel reduces within subgroups.
    pub fn reduces_in_subgroups(&self, kernel: &Kernel) -> bool {
        kernel.reduces
            && match self.reductions {
                Reductions::Workgroup => false,
                Reductions::AsMeasured => self.tuning.is_some_and(|tuning| tuning.reduces_in_subgroups(kernel.name)),
                Reductions::Subgroups => true,
            }
    }
}

/// Kinds of executors that want different tiles.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// Twins on the CPU.
    Host,
    /// A Vulkan driver that runs on the CPU.
    CpuDriver {
        /// Subgroups of exactly eight invocations that can shuffle.
        shuffles: bool,
        /// Mesa 26 or later.
        recent: bool,
    },
    /// A GPU.
    Gpu,
}

/// Lines of GPUs that differ in registers, subgroups and caches, and so in what suits them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Family {
    /// None of the others, or not known.
    #[default]
    Unknown,
    /// AMD with subgroups of 64 alone: GCN, Vega, CDNA.
    Gcn,
    /// AMD RDNA.
    Rdna,
    /// NVIDIA.
    Nvidia,
    /// Intel.
    Intel,
    /// Apple silicon.
    Apple,
    /// Qualcomm Adreno.
    Adreno,
    /// ARM Mali and Immortalis.
    Mali,
}

impl Family {
    /// All of them.
    pub const ALL: [Family; 8] = [
        Family::Unknown,
        Family::Gcn,
        Family::Rdna,
        Family::Nvidia,
        Family::Intel,
        Family::Apple,
        Family::Adreno,
        Family::Mali,
    ];

    /// The name that `BAGRAD_PLAN_AS` takes.
    pub fn name(self) -> &'static str {
        match self {
            Family::Unknown => "gpu",
            Family::Gcn => "gcn",
            Family::Rdna => "rdna",
            Family::Nvidia => "nvidia",
            Family::Intel => "intel",
            Family::Apple => "apple",
            Family::Adreno => "adreno",
            Family::Mali => "mali",
        }
    }
}

/// A device to plan for in the place of the one there is, so that any driver runs what another device would.
///
/// As text (`BAGRAD_PLAN_AS`): a name, with or without the number of parallel units after a colon: `rdna:60`,
/// `nvidia`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PlanAs {
    /// Its class.
    pub class: Class,
    /// Its family.
    pub family: Family,
    /// Its parallel units.
    pub units: u32,
}

/// Drivers on the CPU by name.
const CPU_DRIVERS: [(&str, bool, bool); 4] = [
    ("cpu-loads", false, false),
    ("cpu-loads-recent", false, true),
    ("cpu-shuffles", true, false),
    ("cpu-shuffles-recent", true, true),
];

impl PlanAs {
    /// Most units there may be.
    const MOST: u32 = 1 << 20;

    /// A GPU of this family with so many units.
    pub fn gpu(family: Family, units: u32) -> Self {
        Self { class: Class::Gpu, family, units }
    }

    /// A driver that runs on the CPU.
    pub fn cpu_driver(shuffles: bool, recent: bool) -> Self {
        Self { class: Class::CpuDriver { shuffles, recent }, family: Family::Unknown, units: CPU_UNITS }
    }

    /// The names that text may begin with.
    pub fn names() -> impl Iterator<Item = &'static str> {
        Family::ALL.into_iter().map(Family::name).chain(CPU_DRIVERS.map(|(name, ..)| name))
    }

    /// What `BAGRAD_PLAN_AS` asks for, if it is set.
    ///
    /// # Errors
    /// [`Error::Setting`] when it says something else.
    pub fn from_env() -> Result<Option<Self>> {
        match std::env::var("BAGRAD_PLAN_AS") {
            Ok(text) if !text.trim().is_empty() => text.trim().parse().map(Some),
            Ok(_) | Err(std::env::VarError::NotPresent) => Ok(None),
            Err(std::env::VarError::NotUnicode(text)) => text.to_string_lossy().parse().map(Some),
        }
    }
}

/// Units of a driver on the CPU, whatever it runs on.
pub(crate) const CPU_UNITS: u32 = 2;

impl fmt::Display for PlanAs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self.class {
            Class::Gpu => self.family.name(),
            Class::Host => "host",
            Class::CpuDriver { shuffles, recent } => {
                CPU_DRIVERS.iter().find(|(_, s, r)| (*s, *r) == (shuffles, recent)).expect("all four").0
            }
        };
        write!(f, "{name}:{}", self.units)
    }
}

impl FromStr for PlanAs {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let wrong = || {
            let names: Vec<&str> = Self::names().collect();
            let (most, names) = (Self::MOST, names.join(", "));
            let message = format!(
                "expected a name, or a name and 1 to {most} parallel units as in rdna:60, of {names}; found {text:?}"
            );
            Error::setting("BAGRAD_PLAN_AS", message)
        };
        let (name, units) = text.split_once(':').map_or((text, None), |(name, units)| (name, Some(units)));
        let gpu = Family::ALL.into_iter().find(|f| f.name() == name).map(|f| Self::gpu(f, typical_units(f)));
        let cpu = CPU_DRIVERS.iter().find(|(n, ..)| *n == name).map(|(_, s, r)| Self::cpu_driver(*s, *r));
        let found = gpu.or(cpu).ok_or_else(wrong)?;
        let units = match units {
            Some(units) => units.parse().ok().filter(|u| (1..=Self::MOST).contains(u)).ok_or_else(wrong)?,
            None => found.units,
        };
        Ok(Self { units, ..found })
    }
}

/// Compute units (streaming multiprocessors, cores) of a usual GPU of the family.
pub(crate) fn typical_units(family: Family) -> u32 {
    match family {
        Family::Unknown => 64,
        Family::Gcn => 60,
        Family::Rdna => 60,
        Family::Nvidia => 68,
        Family::Intel => 32,
        Family::Apple => 16,
        Family::Adreno => 6,
        Family::Mali => 10,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_read_and_written() {
        for name in PlanAs::names() {
            let plain: PlanAs = name.parse().unwrap();
            let sized: PlanAs = format!("{name}:7").parse().unwrap();
            assert_eq!(sized, PlanAs { units: 7, ..plain });
            assert_eq!(sized.to_string(), format!("{name}:7"));
            assert_eq!(plain.to_string().parse::<PlanAs>().unwrap(), plain);
        }
        assert_eq!("rdna:60".parse::<PlanAs>().unwrap(), PlanAs::gpu(Family::Rdna, 60));
    }

    #[test]
    fn anything_else_is_refused_with_the_names() {
        for text in ["host", "host:4", "rdna:", "rdna:0", "rdna:-1", "rdna:many", "rdna:9999999", "RDNA", "", ":3"] {
            let message = text.parse::<PlanAs>().unwrap_err().to_string();
            for part in ["BAGRAD_PLAN_AS", "rdna:60", "adreno", "cpu-shuffles-recent", &format!("{text:?}")] {
                assert!(message.contains(part), "{text:?}: {message}");
            }
        }
    }
}
