//! Whose GPU an adapter is and how large, from what its driver says: pure, so that it can be tested without it.

use crate::kernels::target::typical_units;
use crate::plan::Family;

/// What the rules look at.
#[derive(Clone, Copy, Debug)]
pub(super) struct Adapter<'a> {
    /// PCI identifier of the maker, or what stands for it; 0 where the back end has none.
    pub vendor: u32,
    /// Name the driver gives.
    pub name: &'a str,
    /// Invocations of the smallest and the largest subgroup.
    pub subgroups: (u32, u32),
}

impl<'a> Adapter<'a> {
    pub fn of(info: &'a wgpu::AdapterInfo) -> Self {
        let subgroups = (info.subgroup_min_size, info.subgroup_max_size);
        Self { vendor: info.vendor, name: &info.name, subgroups }
    }

    /// Its family. Metal tells no maker, and Mesa's driver for Apple's GPUs tells its own: there the name does.
    pub fn family(&self) -> Family {
        match self.vendor {
            0x1002 | 0x1022 => self.amd(),
            0x10de => Family::Nvidia,
            0x8086 => Family::Intel,
            0x106b => Family::Apple,
            // On PCI, and as Windows on ARM has it.
            0x5143 | 0x4d4f_4351 => Family::Adreno,
            0x13b5 => Family::Mali,
            _ => self.by_name(),
        }
    }

    fn by_name(&self) -> Family {
        let name = self.name.to_lowercase();
        let has = |parts: &[&str]| parts.iter().any(|part| name.contains(part));
        if has(&["nvidia", "geforce", "quadro"]) {
            Family::Nvidia
        } else if has(&["radeon", "amd "]) {
            self.amd()
        } else if has(&["intel"]) {
            Family::Intel
        } else if has(&["adreno"]) {
            Family::Adreno
        } else if has(&["mali", "immortalis"]) {
            Family::Mali
        } else if name.starts_with("apple") {
            Family::Apple
        } else {
            Family::Unknown
        }
    }

    /// GCN and CDNA have subgroups of 64 alone, RDNA of 32 too. Back ends that do not tell (Metal gives 4 to 64) leave
    /// the name: before RDNA models have three digits, or a name that says so.
    fn amd(&self) -> Family {
        match self.subgroups {
            (64, 64) => return Family::Gcn,
            (32, _) => return Family::Rdna,
            _ => {}
        }
        let name = self.name.to_lowercase();
        let three = |word: &str| word.len() >= 3 && word.trim_end_matches(['x', 'm']).len() == 3;
        let digits = |word: &str| word.trim_end_matches(['x', 'm']).bytes().all(|b| b.is_ascii_digit());
        let old = ["vega", "radeon vii", "polaris", "instinct", "fury", " r9 ", " r7 ", "firepro", "raven", "renoir"];
        let numbered = name.split_whitespace().any(|word| three(word) && digits(word));
        if numbered || old.iter().any(|part| name.contains(part)) { Family::Gcn } else { Family::Rdna }
    }

    /// Compute units of models that are known; those of a usual one for the others. It only decides how far long
    /// sums are split, so a factor of two does not matter.
    pub fn units(&self) -> u32 {
        const KNOWN: [(&str, u32); 8] = [
            ("H200", 132),
            ("H100", 132),
            ("A100", 108),
            ("L40", 142),
            ("RTX 4090", 128),
            ("RTX 5090", 170),
            ("Intel", 32),
            ("Apple", 32),
        ];
        let known = KNOWN.iter().find(|(part, _)| self.name.contains(part));
        known.map_or_else(|| typical_units(self.family()), |(_, units)| *units)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn family(vendor: u32, name: &str, subgroups: (u32, u32)) -> Family {
        Adapter { vendor, name, subgroups }.family()
    }

    #[test]
    fn makers_are_told_by_number_or_name() {
        use Family::*;
        for (vendor, name, wanted) in [
            (0x10de, "NVIDIA GeForce RTX 4090", Nvidia),
            (0x10de, "Quadro GV100", Nvidia),
            (0x8086, "Intel(R) Arc(TM) A770 Graphics (DG2)", Intel),
            (0x106b, "Apple M2 Max", Apple),
            (0, "Apple M1 Pro", Apple),
            (0x10005, "Apple M1 (G13G B1)", Apple),
            (0x5143, "Adreno (TM) 740", Adreno),
            (0x4d4f_4351, "Qualcomm(R) Adreno(TM) X1-85 GPU", Adreno),
            (0x5143, "Turnip Adreno (TM) 660", Adreno),
            (0x13b5, "Mali-G715-Immortalis MC11", Mali),
            (0, "Intel(R) Iris(TM) Plus Graphics", Intel),
            (0x1010, "PowerVR Rogue GE8320", Unknown),
            (0x14e4, "V3D 7.1.7", Unknown),
            (0, "", Unknown),
        ] {
            assert_eq!(family(vendor, name, (32, 32)), wanted, "{name}");
        }
    }

    #[test]
    fn amd_is_told_by_subgroups_and_then_by_name() {
        for name in ["AMD Radeon Graphics (RADV GFX1201)", "AMD Radeon RX 7900 XTX", "anything"] {
            assert_eq!(family(0x1002, name, (32, 64)), Family::Rdna, "{name}");
            assert_eq!(family(0x1002, name, (64, 64)), Family::Gcn, "{name}");
        }
        for name in ["AMD Radeon Pro 5500M", "AMD Radeon RX 6900 XT", "AMD Radeon Pro W6800X"] {
            assert_eq!(family(0, name, (4, 64)), Family::Rdna, "{name}");
        }
        for name in ["AMD Radeon Pro 560X", "AMD Radeon Pro Vega 56", "AMD Radeon RX 580", "AMD Radeon VII"] {
            assert_eq!(family(0, name, (4, 64)), Family::Gcn, "{name}");
        }
    }
}
