//! Which adapter is taken: a rule over descriptions, so that it can be tested without hardware.

use crate::device::{DeviceChoice, Kind};
use crate::error::{Error, Result};

/// What the rule looks at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Description {
    /// Name the driver gives.
    pub name: String,
    /// Back end.
    pub backend: String,
    /// What it is.
    pub kind: Kind,
}

/// Drivers that compute on the CPU and do not always say so.
const SOFTWARE: [&str; 4] = ["llvmpipe", "lavapipe", "swiftshader", "microsoft basic render"];

impl Description {
    pub(super) fn of(info: &wgpu::AdapterInfo) -> Self {
        Self::new(&info.name, &info.backend.to_string(), info.device_type)
    }

    /// From what a driver reports.
    pub fn new(name: &str, backend: &str, device_type: wgpu::DeviceType) -> Self {
        let lower = name.to_lowercase();
        let software =
            SOFTWARE.iter().any(|s| lower.contains(s)) || lower.split_whitespace().any(|word| word == "warp");
        let kind = match device_type {
            _ if software => Kind::Cpu,
            wgpu::DeviceType::DiscreteGpu => Kind::Discrete,
            wgpu::DeviceType::IntegratedGpu => Kind::Integrated,
            wgpu::DeviceType::VirtualGpu => Kind::Virtual,
            wgpu::DeviceType::Cpu => Kind::Cpu,
            wgpu::DeviceType::Other => Kind::Other,
        };
        Self { name: name.to_string(), backend: backend.to_string(), kind }
    }
}

/// What to try, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidates {
    /// Numbers of adapters; the first that opens is taken.
    pub adapters: Vec<usize>,
    /// Take the host when none of them opens.
    pub host: bool,
}

/// The adapters a choice means.
///
/// Software adapters are slower than the host, so they are taken only when somebody names them.
///
/// # Errors
/// [`Error::Device`] that lists what there is and says how to ask for it.
pub fn candidates(choice: &DeviceChoice, adapters: &[Description]) -> Result<Candidates> {
    let best_first = |keep: &dyn Fn(&Description) -> bool| {
        let mut found: Vec<usize> = (0..adapters.len()).filter(|&i| keep(&adapters[i])).collect();
        // Stable: of the same GPU behind two back ends, the one listed first.
        found.sort_by_key(|&i| adapters[i].kind);
        found
    };
    let asked = |found: Vec<usize>, wanted: &str| match found.is_empty() {
        true => Err(nothing(wanted, adapters)),
        false => Ok(Candidates { adapters: found, host: false }),
    };
    match choice {
        DeviceChoice::Host => Ok(Candidates { adapters: Vec::new(), host: true }),
        DeviceChoice::Auto => {
            let found = best_first(&|a| matches!(a.kind, Kind::Discrete | Kind::Integrated));
            Ok(Candidates { adapters: found, host: true })
        }
        DeviceChoice::Gpu => asked(best_first(&|a| a.kind != Kind::Cpu), "a hardware GPU"),
        DeviceChoice::Index(n) => {
            asked(if *n < adapters.len() { vec![*n] } else { Vec::new() }, &format!("adapter number {n}"))
        }
        DeviceChoice::Name(part) => {
            let part = part.to_lowercase();
            asked(best_first(&|a| a.name.to_lowercase().contains(&part)), &format!("an adapter named like {part:?}"))
        }
    }
}

/// What opened, with its number, and what the others said.
type First<T> = (Option<(usize, T)>, Vec<String>);

/// The first of these adapters that opens, with its number, and why those before it did not.
///
/// # Errors
/// What is no fault of the adapter.
pub(super) fn first<T>(numbers: &[usize], mut open: impl FnMut(usize) -> Result<T>) -> Result<First<T>> {
    let mut failures = Vec::new();
    for &n in numbers {
        match open(n) {
            Ok(opened) => return Ok((Some((n, opened)), failures)),
            Err(Error::Device { message }) => failures.push(message),
            Err(other) => return Err(other),
        }
    }
    Ok((None, failures))
}

/// Why an adapter was taken, in words, and what was passed over for it.
pub(super) fn why(choice: &DeviceChoice, taken: &Description, failures: &[String]) -> String {
    let mut why = match choice {
        DeviceChoice::Auto if failures.is_empty() => format!("the best GPU here is {}", taken.kind),
        DeviceChoice::Auto => format!("the best GPU here that works is {}", taken.kind),
        other => format!("`{other}` was asked for"),
    };
    if !failures.is_empty() {
        why += &format!("; passed over: {}", failures.join("; "));
    }
    why
}

fn nothing(wanted: &str, adapters: &[Description]) -> Error {
    let mut message = format!("there is no {}; ", wanted.trim_start_matches("a ").trim_start_matches("an "));
    if adapters.is_empty() {
        message += "no adapter was found at all (is a Vulkan, Metal or DX12 driver installed?). `host` always works";
        return Error::Device { message };
    }
    message += "found:";
    for (i, a) in adapters.iter().enumerate() {
        message += &format!("\n  gpu:{i}  {} ({}, {})", a.name, a.kind, a.backend);
    }
    message += "\nask for one of them by `gpu:N` or by a part of its name, or for `host`";
    if adapters.iter().any(|a| a.kind == Kind::Cpu) {
        message += "; software adapters are taken only when asked for in this way";
    }
    Error::Device { message }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wgpu::DeviceType as T;

    fn machine() -> Vec<Description> {
        vec![
            Description::new("llvmpipe (LLVM 15.0.6, 256 bits)", "vulkan", T::Cpu),
            Description::new("Intel(R) UHD Graphics 770", "vulkan", T::IntegratedGpu),
            Description::new("NVIDIA GeForce RTX 4090", "vulkan", T::DiscreteGpu),
            Description::new("NVIDIA GeForce RTX 4090", "dx12", T::DiscreteGpu),
            Description::new("Microsoft Basic Render Driver", "dx12", T::DiscreteGpu),
            Description::new("virtio", "vulkan", T::VirtualGpu),
        ]
    }

    fn pick(choice: &str, adapters: &[Description]) -> Result<Candidates> {
        candidates(&choice.parse().unwrap(), adapters)
    }

    #[test]
    fn auto_prefers_discrete_then_integrated_then_the_host() {
        let all = machine();
        assert_eq!(pick("auto", &all).unwrap(), Candidates { adapters: vec![2, 3, 1], host: true });
        assert_eq!(pick("auto", &all[..2]).unwrap(), Candidates { adapters: vec![1], host: true });
        assert_eq!(pick("auto", &all[..1]).unwrap(), Candidates { adapters: vec![], host: true });
        assert_eq!(pick("host", &all).unwrap(), Candidates { adapters: vec![], host: true });
    }

    #[test]
    fn gpu_means_hardware_and_says_what_there_is() {
        let all = machine();
        assert_eq!(pick("gpu", &all).unwrap(), Candidates { adapters: vec![2, 3, 1, 5], host: false });
        let message = pick("gpu", &all[..1]).unwrap_err().to_string();
        assert!(message.contains("gpu:0  llvmpipe") && message.contains("only when asked for"), "{message}");
        assert!(pick("gpu", &[]).unwrap_err().to_string().contains("no adapter was found"));
    }

    #[test]
    fn software_is_taken_when_it_is_named() {
        let all = machine();
        assert_eq!(pick("LLVMpipe", &all).unwrap().adapters, [0]);
        assert_eq!(pick("gpu:4", &all).unwrap().adapters, [4]);
        assert_eq!(pick("rtx", &all).unwrap().adapters, [2, 3]);
        assert!(pick("gpu:9", &all).unwrap_err().to_string().contains("adapter number 9"));
        assert!(pick("radeon", &all).is_err());
    }

    #[test]
    fn what_fails_is_passed_over_with_a_word() {
        let all = machine();
        let broken = |n: usize| Error::Device { message: format!("adapter {n} is not right") };
        let (taken, failures) = first(&[2, 3, 1], |n| if n == 1 { Ok(()) } else { Err(broken(n)) }).unwrap();
        assert_eq!((taken, failures.len()), (Some((1, ())), 2));
        let said = why(&DeviceChoice::Auto, &all[1], &failures);
        assert_eq!(
            said,
            "the best GPU here that works is integrated; passed over: adapter 2 is not right; adapter 3 is not right"
        );
        let (taken, failures) = first(&[2, 3], |n| -> Result<()> { Err(broken(n)) }).unwrap();
        assert!(taken.is_none() && failures.len() == 2);
        let (taken, failures) = first(&[2, 3], Ok).unwrap();
        assert_eq!((taken, why(&DeviceChoice::Gpu, &all[2], &failures)), (Some((2, 2)), "`gpu` was asked for".into()));
        let memory = || Error::OutOfMemory { while_doing: "allocating".to_string() };
        assert!(first(&[2, 3], |_| -> Result<()> { Err(memory()) }).is_err(), "no fault of the adapter");
    }

    #[test]
    fn software_is_known_by_its_name() {
        let kind = |name| Description::new(name, "vulkan", T::DiscreteGpu).kind;
        assert_eq!(kind("SwiftShader Device (LLVM 10.0.0)"), Kind::Cpu);
        assert_eq!(kind("Google SwiftShader"), Kind::Cpu);
        assert_eq!(kind("lavapipe"), Kind::Cpu);
        assert_eq!(kind("Microsoft Direct3D WARP"), Kind::Cpu);
        assert_eq!(kind("Warpdrive 3000 XT"), Kind::Discrete);
    }
}
