//! Every shader, in every variant in use, parses, validates, and has the bindings and parameters that its
//! declaration promises. No device is needed. `vendors` takes them to the compilers of GPUs.

mod declared;
mod vendors;

use bagrad::device::gpu::preprocess::preprocess;
use bagrad::kernels::{self, Binding, Kernel};
use wgpu::naga;

/// Each name on and off, in all combinations.
fn combinations(names: &[&'static str], fixed: &[(&'static str, u32)]) -> Vec<Vec<(&'static str, u32)>> {
    (0..1u32 << names.len())
        .map(|bits| names.iter().enumerate().map(|(i, n)| (*n, bits >> i & 1)).chain(fixed.iter().copied()).collect())
        .collect()
}

/// All variants: those of the file and, of kernels that reduce, each of them within subgroups too.
fn variants(kernel: &Kernel) -> Vec<Vec<(&'static str, u32)>> {
    let all = variants_of_file(kernel);
    let within: Vec<_> = all.iter().map(|v| [&v[..], &[("SUBGROUPS", 1)]].concat()).collect();
    if kernel.reduces { [all, within].concat() } else { all }
}

fn variants_of_file(kernel: &Kernel) -> Vec<Vec<(&'static str, u32)>> {
    match kernel.file {
        "matmul" => {
            let forms = ["A_T", "B_T", "A_VEC", "B_VEC", "C_VEC"];
            let halves = [("A_F16", 0, 0), ("A_F16", 1, 0), ("A_F16", 1, 1), ("B_F16", 1, 0), ("B_F16", 1, 1)];
            let mut all = Vec::new();
            for ((name, half, native), round) in halves.into_iter().flat_map(|h| [(h, 0), (h, 1)]) {
                for (register, shuffle, single) in [(0, 0, 0), (1, 0, 0), (1, 1, 0), (1, 1, 1)] {
                    let fixed = [
                        (name, half),
                        ("NATIVE_F16", native),
                        ("REGISTER", register),
                        ("ROWS", 16),
                        ("COLS", 1),
                        ("SUBGROUP8", shuffle),
                        ("SINGLE", single),
                        ("CURVED", register & (round ^ shuffle)),
                        ("ROUND", round),
                    ];
                    let tiles: &[&str] = if register == 1 { &[] } else { &["TALL", "WIDE"] };
                    let larger = [&fixed[..], &[("SIDE", 16)]].concat();
                    all.extend(combinations(&[&forms[..], tiles].concat(), &larger));
                    if register == 0 {
                        let smaller = [&fixed[..], &[("SIDE", 8), ("A_VEC", 1), ("B_VEC", 1), ("C_VEC", 1)]].concat();
                        all.extend(combinations(&[&forms[..2], tiles].concat(), &smaller));
                    }
                }
            }
            // On GPUs only forward products of layers bring activations, whatever the rounding.
            let layer = |v: &&Vec<_>| [("REGISTER", 0), ("A_T", 0), ("B_T", 1)].iter().all(|set| v.contains(set));
            let curve = |v| if let ("CURVED", on) = v { ("CURVED", 1 - on) } else { v };
            let others: Vec<Vec<_>> =
                all.iter().filter(layer).map(|v| v.iter().copied().map(curve).collect()).collect();
            all.extend(others);
            all.extend([0, 1].map(|round| vec![("SMALL", 1), ("ROUND", round), ("CURVED", round)]));
            all
        }
        "matmul_coop" => {
            let forms = ["A_T", "B_T", "A_VEC", "B_VEC", "C_VEC", "LARGE"];
            // lavapipe, NVIDIA, AMD with subgroups of 32 or 64, and of 8 to 32 anywhere.
            let sizes = [[8, 32, 0], [16, 128, 0], [16, 256, 2], [8, 128, 4]];
            let sizes = sizes.map(|[side, lanes, split]| [("SIDE", side), ("LANES", lanes), ("SPLIT", split)]);
            let halves = [("A_F16", 0), ("A_F16", 1), ("B_F16", 1)];
            let fixed = sizes.into_iter().flat_map(|s| halves.map(|h| [s[0], s[1], s[2], h, ("NATIVE_F16", h.1)]));
            let mut all: Vec<Vec<_>> = fixed.flat_map(|fixed| combinations(&forms, &fixed)).collect();
            let layer = |v: &&Vec<_>| v.contains(&("A_T", 0)) && v.contains(&("B_T", 1));
            let curved: Vec<Vec<_>> = all.iter().filter(layer).map(|v| [&v[..], &[("CURVED", 1)]].concat()).collect();
            all.extend(curved);
            all
        }
        "attention_pool" | "critical_attention" => combinations(&["VEC"], &[]),
        "self_attention" => {
            let of =
                |kind, bins| [("KIND", kind), ("DISTANCE", (kind == 6) as u32), ("BINNED", (kind == 7) as u32), bins];
            let kinds = (0..7).map(|kind| (kind, 1)).chain([(7, 1), (7, 10), (7, 24), (8, 1)]);
            let all = kinds.flat_map(|(kind, bins)| combinations(&["VEC", "DROP"], &of(kind, ("BINS", bins))));
            // Rows that an invocation owns, where it owns any.
            let owns = match kernel.name {
                "attention_back" => &[8, 4, 2][..],
                "attention_forward" | "attention_values" => &[8, 4],
                _ => &[8],
            };
            all.flat_map(|variant| {
                let own = |own: &u32| [&variant[..], &[("OWN", *own)]].concat();
                owns.iter().map(own).collect::<Vec<_>>()
            })
            .collect()
        }
        "elementwise" => combinations(&["HALF", "NATIVE_F16"], &[]),
        _ => vec![Vec::new()],
    }
}

/// With `BAGRAD_DUMP_WGSL=FILE`, a script with the text of every variant that a browser can compile: `tests/drivers`
/// hands it to one. Left out is what asks for extensions that only wgpu has; f16 and subgroups are in the standard.
#[test]
fn variants_are_handed_to_browsers() {
    let (mut native, mut portable) = (0, Vec::new());
    for kernel in kernels::all() {
        let all = variants(kernel);
        for (n, variant) in all.iter().enumerate() {
            let mut text = preprocess(kernel.file, variant);
            if text.contains("enable wgpu_") {
                native += 1;
                continue;
            }
            if text.contains("subgroup") {
                // Browsers demand the line, which naga refuses; in front of the first, so that no line moves.
                text = format!("enable subgroups; {text}");
            }
            let name = format!("{} of shaders/{}.wgsl {variant:?}", kernel.name, kernel.file);
            // A pipeline is compiled by the driver too, which takes long: of the plainest and the richest.
            let pipeline = n == 0 || n + 1 == all.len();
            portable
                .push(serde_json::json!({ "name": name, "entry": kernel.entry, "text": text, "pipeline": pipeline }));
        }
    }
    if let Some(path) = std::env::var_os("BAGRAD_DUMP_WGSL") {
        let count = portable.len();
        std::fs::write(&path, format!("const SHADERS = {};\n", serde_json::Value::from(portable))).unwrap();
        println!("{count} variants in {}; {native} are for wgpu alone", path.display());
    }
}

/// With `BAGRAD_DUMP_VARIANTS=FILE`, the text of every variant of every entry point, after a line that names it:
/// `tests/drivers backends` translates them for other back ends and has the results compiled.
#[test]
fn variants_are_handed_to_translators() {
    let mut texts = std::collections::BTreeMap::new();
    for kernel in kernels::all() {
        for variant in variants(kernel) {
            let name = format!("{} of shaders/{}.wgsl {variant:?}", kernel.entry, kernel.file);
            texts.entry((kernel.entry, preprocess(kernel.file, &variant))).or_insert(name);
        }
    }
    if let Some(path) = std::env::var_os("BAGRAD_DUMP_VARIANTS") {
        let all: String = texts.iter().map(|((_, text), name)| format!("//// {name}\n{text}\n")).collect();
        std::fs::write(&path, all).unwrap();
    }
    assert!(texts.len() > 1000 && texts.values().all(|name| name.contains(" of ")), "{}", texts.len());
}

#[test]
fn every_variant_validates_and_matches_its_declaration() {
    for kernel in kernels::all() {
        for variant in variants(kernel) {
            check(kernel, &variant);
        }
    }
}

fn check(kernel: &Kernel, variant: &[(&'static str, u32)]) {
    let text = preprocess(kernel.file, variant);
    let what = format!("{} {variant:?}", kernel.name);
    let module = naga::front::wgsl::parse_str(&text).unwrap_or_else(|e| panic!("{what}: {}", e.emit_to_string(&text)));
    let capabilities = naga::valid::Capabilities::IMMEDIATES
        | naga::valid::Capabilities::SHADER_FLOAT16
        | naga::valid::Capabilities::SHADER_FLOAT16_IN_FLOAT32
        | naga::valid::Capabilities::SUBGROUP
        | naga::valid::Capabilities::COOPERATIVE_MATRIX;
    let info = naga::valid::Validator::new(naga::valid::ValidationFlags::all(), capabilities)
        .validate(&module)
        .unwrap_or_else(|e| panic!("{what}: {}", e.emit_to_string(&text)));
    let at = module.entry_points.iter().position(|e| e.name == kernel.entry);
    let at = at.unwrap_or_else(|| panic!("{what}: no entry point {}", kernel.entry));
    let used = info.get_entry_point(at);
    let mut storage_buffers = 0;
    for (handle, global) in module.global_variables.iter() {
        if used[handle].is_empty() {
            continue;
        }
        match global.space {
            naga::AddressSpace::Immediate => {
                let size = module.types[global.ty].inner.size(module.to_ctx());
                assert_eq!(size as usize, kernel.words * 4, "{what}: bytes of the parameters");
            }
            naga::AddressSpace::Storage { access } => {
                storage_buffers += 1;
                let number = global.binding.expect("a storage buffer has a binding").binding as usize;
                let declared = kernel.bindings[number];
                let writes = access.contains(naga::StorageAccess::STORE);
                assert_eq!(declared.writes(), writes, "{what}: binding {number} is declared {declared:?}");
                let scalar = element(&module, global.ty);
                let index = matches!(declared, Binding::ReadIndex | Binding::WriteIndex);
                let features = declared == Binding::ReadFeatures;
                assert!(features || (scalar == naga::ScalarKind::Uint) == index, "{what}: binding {number} {scalar:?}");
            }
            _ => {}
        }
    }
    assert!(storage_buffers <= 8, "{what}: browsers allow 8 storage buffers");
    assert!(kernel.bindings.len() <= 8, "{what}: browsers allow 8 storage buffers");
    assert!(kernel.words <= kernels::launch::MAX_WORDS, "{what}: parameters fit in 64 bytes");
}

fn element(module: &naga::Module, ty: naga::Handle<naga::Type>) -> naga::ScalarKind {
    match module.types[ty].inner {
        naga::TypeInner::Array { base, .. } => element(module, base),
        naga::TypeInner::Vector { scalar, .. } | naga::TypeInner::Scalar(scalar) => scalar.kind,
        ref other => panic!("a buffer of {other:?}"),
    }
}
