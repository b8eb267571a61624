//! backends VARIANTS SCRATCH [DXC]
//!
//! VARIANTS holds WGSL modules, each after a line `//// entry of name`; tests/shaders.rs writes it. Each goes through
//! naga as wgpu's back ends of Vulkan, DX12 and Metal would send it. SPIR-V is judged by the program in the variable
//! SPIRV_VAL, HLSL by the compiler DXC (a shared library), each different text once. There is no compiler of MSL but
//! Apple's, so that is translated only.

mod dxc;

use dxc::Dxc;
use naga::back::{hlsl, msl, spv};
use naga::proc::{BoundsCheckPolicies, BoundsCheckPolicy};
use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

struct Variant {
    name: String,
    entry: String,
    text: String,
    /// DXC takes it: it has a combination of three choices that those before it have not. All would take minutes.
    chosen: bool,
}

/// Counts, faults, and what has been judged.
#[derive(Default)]
struct Tally {
    spirv: [AtomicUsize; 2],
    strides: AtomicUsize,
    hlsl: AtomicUsize,
    compiled: AtomicUsize,
    msl: AtomicUsize,
    seen: Mutex<HashSet<u64>>,
    faults: Mutex<Vec<String>>,
}

impl Tally {
    /// True for the first of several equal results.
    fn is_new(&self, result: impl Hash) -> bool {
        let mut hasher = DefaultHasher::new();
        result.hash(&mut hasher);
        self.seen.lock().unwrap().insert(hasher.finish())
    }

    fn fault(&self, back_end: &str, variant: &Variant, message: impl std::fmt::Display) {
        self.faults.lock().unwrap().push(format!("{back_end}: {}: {message}", variant.name));
    }
}

fn add(counter: &AtomicUsize) {
    counter.fetch_add(1, Ordering::Relaxed);
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [variants, scratch, rest @ ..] = &arguments[..] else { panic!("backends VARIANTS SCRATCH [DXC]") };
    let variants = read(&std::fs::read_to_string(variants).expect("the file of variants"));
    assert!(variants.len() > 1000, "only {} variants", variants.len());
    let dxc = rest.first().map(PathBuf::from);
    let (tally, next) = (Tally::default(), AtomicUsize::new(0));
    let threads = std::thread::available_parallelism().map_or(2, |n| n.get());
    std::thread::scope(|scope| {
        for thread in 0..threads {
            let (tally, next, variants, dxc) = (&tally, &next, &variants, dxc.as_ref());
            let file = Path::new(scratch).join(format!("{thread}.spv"));
            scope.spawn(move || {
                let judge = dxc.map(|path| Dxc::open(path).unwrap_or_else(|e| panic!("{e}")));
                while let Some(variant) = variants.get(next.fetch_add(1, Ordering::Relaxed)) {
                    translate(variant, tally, &file, judge.as_ref());
                }
            });
        }
    });
    let count = |n: &AtomicUsize| n.load(Ordering::Relaxed);
    println!("{} variants of entry points", variants.len());
    println!("SPIR-V: {} translated, {} different ones valid", count(&tally.spirv[0]), count(&tally.spirv[1]));
    if count(&tally.strides) > 0 {
        println!("  {} but for a stride in workgroup memory (gfx-rs/wgpu#7696)", count(&tally.strides));
    }
    println!("HLSL: {} translated, {} compiled by DXC", count(&tally.hlsl), count(&tally.compiled));
    println!("MSL: {} translated", count(&tally.msl));
    let faults = tally.faults.into_inner().unwrap();
    faults.iter().take(12).for_each(|fault| eprintln!("{fault}"));
    if !faults.is_empty() {
        eprintln!("{} faults", faults.len());
        std::process::exit(1);
    }
}

fn read(text: &str) -> Vec<Variant> {
    let all = std::env::var("BAGRAD_DXC_ALL").is_ok_and(|v| v == "1");
    let mut covered = HashSet::new();
    let parts = text.split("//// ").skip(1).map(|part| {
        let (name, text) = part.split_once('\n').expect("a text after its name");
        let (entry, rest) = name.split_once(" of ").expect("`entry of file [choices]`");
        let (file, choices) = rest.split_once(" [").expect("`entry of file [choices]`");
        let choices: Vec<&str> = choices.trim_end_matches(']').split("), ").collect();
        let mut chosen = all || choices.len() < 3;
        for (i, a) in choices.iter().enumerate() {
            for (j, b) in choices[..i].iter().enumerate() {
                for c in &choices[..j] {
                    chosen |= covered.insert((entry, file, *a, *b, *c));
                }
            }
        }
        Variant { name: name.to_string(), entry: entry.to_string(), text: text.to_string(), chosen }
    });
    parts.collect()
}

fn translate(variant: &Variant, tally: &Tally, file: &Path, judge: Option<&Dxc>) {
    use naga::valid::{Capabilities, ValidationFlags, Validator};
    let module = match naga::front::wgsl::parse_str(&variant.text) {
        Ok(module) => module,
        Err(error) => return tally.fault("naga", variant, error.emit_to_string(&variant.text)),
    };
    let capabilities = Capabilities::IMMEDIATES
        | Capabilities::SHADER_FLOAT16
        | Capabilities::SHADER_FLOAT16_IN_FLOAT32
        | Capabilities::SUBGROUP
        | Capabilities::COOPERATIVE_MATRIX;
    let info = match Validator::new(ValidationFlags::all(), capabilities).validate(&module) {
        Ok(info) => info,
        Err(error) => return tally.fault("naga", variant, error.emit_to_string(&variant.text)),
    };
    let matrices = variant.text.contains("enable wgpu_cooperative_matrix");
    match to_spirv(&module, &info, variant, matrices) {
        Err(error) => tally.fault("SPIR-V", variant, error),
        Ok(words) => {
            add(&tally.spirv[0]);
            if tally.is_new(&words) {
                add(&tally.spirv[1]);
                match valid(&words, file) {
                    Err(message) => tally.fault("spirv-val", variant, message),
                    Ok(true) => {}
                    Ok(false) => add(&tally.strides),
                }
            }
        }
    }
    // DX12 has no cooperative matrices in wgpu.
    if !matrices {
        match to_hlsl(&module, &info, variant) {
            Err(error) => tally.fault("HLSL", variant, error),
            Ok((text, entry)) => {
                add(&tally.hlsl);
                if let Some(judge) = judge
                    && variant.chosen
                    && tally.is_new(&text)
                {
                    add(&tally.compiled);
                    if let Err(message) = compiles(judge, &text, &entry) {
                        tally.fault("DXC", variant, message);
                    }
                }
            }
        }
    }
    match to_msl(&module, &info, variant) {
        Err(error) => tally.fault("MSL", variant, error),
        Ok(()) => add(&tally.msl),
    }
}

const UNCHECKED: BoundsCheckPolicies = BoundsCheckPolicies {
    index: BoundsCheckPolicy::Unchecked,
    buffer: BoundsCheckPolicy::Unchecked,
    image_load: BoundsCheckPolicy::Unchecked,
    binding_array: BoundsCheckPolicy::Unchecked,
};

fn to_spirv(
    module: &naga::Module,
    info: &naga::valid::ModuleInfo,
    variant: &Variant,
    matrices: bool,
) -> Result<Vec<u32>, spv::Error> {
    let options = spv::Options {
        lang_version: if matrices { (1, 6) } else { (1, 3) },
        flags: spv::WriterFlags::LABEL_VARYINGS | spv::WriterFlags::FORCE_POINT_SIZE,
        bounds_check_policies: UNCHECKED,
        zero_initialize_workgroup_memory: spv::ZeroInitializeWorkgroupMemoryMode::None,
        force_loop_bounding: false,
        ..Default::default()
    };
    let stage = spv::PipelineOptions { shader_stage: naga::ShaderStage::Compute, entry_point: variant.entry.clone() };
    spv::write_vec(module, info, &options, Some(&stage))
}

/// Whether SPIR-V is valid for Vulkan; `false` when it is but for a stride that naga gives arrays in workgroup memory,
/// which Vulkan forbids and drivers ignore (gfx-rs/wgpu#7696): the rest was then judged without Vulkan's own rules.
fn valid(words: &[u32], file: &Path) -> Result<bool, String> {
    let bytes: Vec<u8> = words.iter().flat_map(|w| w.to_le_bytes()).collect();
    std::fs::write(file, bytes).map_err(|e| format!("{}: {e}", file.display()))?;
    let program = std::env::var("SPIRV_VAL").unwrap_or_else(|_| "spirv-val".to_string());
    let mut words = program.split_whitespace();
    let (program, before) = (words.next().expect("a program"), words.collect::<Vec<_>>());
    let judge = |environment: &str| {
        let run = Command::new(program).args(&before).args(["--target-env", environment]).arg(file).output();
        let run = run.map_err(|e| format!("{program}: {e}"))?;
        let message = String::from_utf8_lossy(&run.stderr).into_owned() + &String::from_utf8_lossy(&run.stdout);
        if run.status.success() { Ok(()) } else { Err(message) }
    };
    match judge("vulkan1.3") {
        Ok(()) => Ok(true),
        Err(message) if message.contains("VUID-StandaloneSpirv-None-10684") => judge("spv1.6").map(|()| false),
        Err(message) => Err(message),
    }
}

/// As wgpu's DX12: immediates are root constants in register 0, buffers are numbered by kind in the order of bindings.
fn to_hlsl(
    module: &naga::Module,
    info: &naga::valid::ModuleInfo,
    variant: &Variant,
) -> Result<(String, String), String> {
    let mut options = hlsl::Options {
        shader_model: hlsl::ShaderModel::V6_2,
        fake_missing_bindings: false,
        immediates_target: Some(hlsl::BindTarget::default()),
        zero_initialize_workgroup_memory: false,
        restrict_indexing: false,
        force_loop_bounding: false,
        ..Default::default()
    };
    let [mut read, mut written] = [0, 0];
    for (binding, writes) in buffers(module, info, variant)? {
        let register = if writes { &mut written } else { &mut read };
        let target = hlsl::BindTarget { register: *register, restrict_indexing: true, ..Default::default() };
        *register += 1;
        options.binding_map.insert(binding, target);
    }
    let entry = Some((naga::ShaderStage::Compute, variant.entry.clone()));
    let pipeline = hlsl::PipelineOptions { entry_point: entry };
    let mut text = String::new();
    let reflection = hlsl::Writer::new(&mut text, &options, &pipeline).write(module, info, None);
    let names = reflection.map_err(|e| e.to_string())?.entry_point_names;
    let at = module.entry_points.iter().position(|e| e.name == variant.entry).expect("it was found before");
    let name = names.get(at).or(names.first()).ok_or("no entry point was written")?;
    Ok((text, name.clone().map_err(|e| e.to_string())?))
}

/// Storage buffers that the entry point uses, and whether they are written.
fn buffers(
    module: &naga::Module,
    info: &naga::valid::ModuleInfo,
    variant: &Variant,
) -> Result<Vec<(naga::ResourceBinding, bool)>, String> {
    let at = module.entry_points.iter().position(|e| e.name == variant.entry).ok_or("no such entry point")?;
    let used = info.get_entry_point(at);
    let mut found: Vec<(naga::ResourceBinding, bool)> = Vec::new();
    for (handle, global) in module.global_variables.iter() {
        if let (naga::AddressSpace::Storage { access }, Some(binding)) = (global.space, global.binding)
            && !used[handle].is_empty()
        {
            found.push((binding, access.contains(naga::StorageAccess::STORE)));
        }
    }
    found.sort_by_key(|(binding, _)| (binding.group, binding.binding));
    Ok(found)
}

/// As wgpu's DX12 calls it; DXIL is what it must give.
fn compiles(dxc: &Dxc, text: &str, entry: &str) -> Result<(), String> {
    let mut arguments = vec!["-HV", "2018", "-no-warnings", "-Ges"];
    if text.contains("half") {
        arguments.push("-enable-16bit-types");
    }
    let compiled = dxc.compile(text, entry, "cs_6_2", &arguments)?;
    if compiled.starts_with(b"DXBC") { Ok(()) } else { Err("no DXIL came".to_string()) }
}

/// As wgpu's Metal: immediates first, then the buffers in the order of bindings, then their sizes.
fn to_msl(module: &naga::Module, info: &naga::valid::ModuleInfo, variant: &Variant) -> Result<(), String> {
    let mut resources = msl::EntryPointResources { immediates_buffer: Some(0), ..Default::default() };
    let mut slot = 1;
    for (binding, writes) in buffers(module, info, variant)? {
        let target = msl::BindTarget { buffer: Some(slot), mutable: writes, ..Default::default() };
        resources.resources.insert(binding, target);
        slot += 1;
    }
    resources.sizes_buffer = Some(slot);
    let options = msl::Options {
        lang_version: (3, 0),
        fake_missing_bindings: false,
        per_entry_point_map: [(variant.entry.clone(), resources)].into(),
        bounds_check_policies: UNCHECKED,
        zero_initialize_workgroup_memory: false,
        force_loop_bounding: false,
        ..Default::default()
    };
    let entry = Some((naga::ShaderStage::Compute, variant.entry.clone()));
    let pipeline = msl::PipelineOptions { entry_point: entry, allow_and_force_point_size: false, ..Default::default() };
    let (text, written) = msl::write_string(module, info, &options, &pipeline).map_err(|e| e.to_string())?;
    for name in written.entry_point_names {
        name.map_err(|e| e.to_string())?;
    }
    if text.contains("kernel void") { Ok(()) } else { Err("no kernel was written".to_string()) }
}
