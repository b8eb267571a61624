//! `src/kernels/declared.rs` is what the shaders say: bindings, parameters, workgroups and constants, read by naga. With
//! `BAGRAD_REWRITE=1` the test writes the file instead of comparing it. It reads the folder `shaders/`, so a new shader is
//! written first and its kernels are declared by this.

use bagrad::device::gpu::preprocess::preprocess_from;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use wgpu::naga;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Files of a folder without their ending, in order.
fn shaders(folder: &Path) -> Vec<String> {
    let paths = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let wgsl = paths.filter(|path| path.extension().is_some_and(|e| e == "wgsl"));
    let mut names: Vec<String> = wgsl.map(|path| path.file_stem().unwrap().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

/// Variants that between them use every binding of a file, and hold features in both ways.
fn variants(file: &str) -> Vec<Vec<(&'static str, u32)>> {
    let tiles = [("SIDE", 16), ("LANES", 128), ("SPLIT", 0)];
    match file {
        "matmul" | "matmul_coop" => {
            [[0, 0], [1, 0], [0, 1]].map(|[a, b]| [&[("A_F16", a), ("B_F16", b)], &tiles[..]].concat()).to_vec()
        }
        "elementwise" => vec![vec![], vec![("HALF", 1)]],
        "self_attention" => {
            let of = |kind| {
                let kinds = [("DISTANCE", (kind == 6) as u32), ("BINNED", (kind == 7) as u32)];
                [&[("KIND", kind), ("BINS", 4), ("OWN", 8), ("DROP", 1)], &kinds[..]].concat()
            };
            [0, 1, 6, 7].map(of).to_vec()
        }
        _ => vec![vec![]],
    }
}

/// One entry point, over the variants.
#[derive(Default)]
struct Entry {
    /// Of each binding: whether it is written, and whether it holds indices, in some variant and in another.
    bindings: BTreeMap<u32, (bool, [bool; 2])>,
    words: u32,
    lanes: Vec<u32>,
    /// It uses the workgroup memory of `common/lanes`.
    reduces: bool,
}

#[derive(Default)]
struct File {
    /// Fields of each struct of parameters.
    structs: BTreeMap<String, Vec<(String, &'static str)>>,
    entries: BTreeMap<String, Entry>,
}

fn element(module: &naga::Module, ty: naga::Handle<naga::Type>) -> naga::ScalarKind {
    match module.types[ty].inner {
        naga::TypeInner::Array { base, .. } => element(module, base),
        naga::TypeInner::Vector { scalar, .. } | naga::TypeInner::Scalar(scalar) => scalar.kind,
        ref other => panic!("a buffer of {other:?}"),
    }
}

fn fields(module: &naga::Module, ty: naga::Handle<naga::Type>) -> (String, Vec<(String, &'static str)>) {
    let ty = &module.types[ty];
    let naga::TypeInner::Struct { members, .. } = &ty.inner else { panic!("parameters are a struct") };
    let field = |member: &naga::StructMember| {
        let kind = match module.types[member.ty].inner {
            naga::TypeInner::Scalar(naga::Scalar { kind: naga::ScalarKind::Uint, .. }) => "u32",
            naga::TypeInner::Scalar(naga::Scalar { kind: naga::ScalarKind::Float, .. }) => "f32",
            ref other => panic!("a parameter of {other:?}"),
        };
        (member.name.clone().unwrap(), kind)
    };
    (ty.name.clone().unwrap(), members.iter().map(field).collect())
}

fn read(file: &str, text: &str, found: &mut File) {
    let module = naga::front::wgsl::parse_str(text).unwrap_or_else(|e| panic!("{file}: {}", e.emit_to_string(text)));
    let capabilities = naga::valid::Capabilities::all();
    let info = naga::valid::Validator::new(naga::valid::ValidationFlags::all(), capabilities)
        .validate(&module)
        .unwrap_or_else(|e| panic!("{file}: {}", e.emit_to_string(text)));
    for (number, entry) in module.entry_points.iter().enumerate() {
        let (used, to) = (info.get_entry_point(number), found.entries.entry(entry.name.clone()).or_default());
        to.lanes.push(entry.workgroup_size.iter().product());
        for (_, global) in module.global_variables.iter().filter(|(handle, _)| !used[*handle].is_empty()) {
            match global.space {
                naga::AddressSpace::Immediate => {
                    to.words = module.types[global.ty].inner.size(module.to_ctx()) / 4;
                    let (name, fields) = fields(&module, global.ty);
                    let before = found.structs.insert(name, fields.clone());
                    assert!(before.is_none_or(|before| before == fields), "{file}: parameters depend on the variant");
                }
                naga::AddressSpace::Storage { access } => {
                    let binding = to.bindings.entry(global.binding.unwrap().binding).or_default();
                    binding.0 |= access.contains(naga::StorageAccess::STORE);
                    binding.1[(element(&module, global.ty) == naga::ScalarKind::Uint) as usize] = true;
                }
                naga::AddressSpace::WorkGroup => to.reduces |= global.name.as_deref() == Some("lane_values"),
                _ => {}
            }
        }
    }
}

/// Constants that no variant changes, of a file and of what it imports, with what is said of them behind.
fn constants(source: &dyn Fn(&str) -> String, file: &str) -> Vec<(String, u32, String)> {
    let (mut depth, mut all) = (0, Vec::new());
    for line in source(file).lines() {
        if let Some(other) = line.strip_prefix("#import ") {
            all.extend(constants(source, other.trim()));
        }
        depth += line.starts_with("#if") as u32;
        depth -= line.starts_with("#endif") as u32;
        let Some((name, rest)) = line.strip_prefix("const ").and_then(|rest| rest.split_once(" = ")) else { continue };
        let (value, about) = rest.split_once(';').unwrap();
        if let (0, Some(Ok(value))) = (depth, value.strip_suffix('u').map(str::parse)) {
            all.push((name.to_string(), value, about.trim().trim_start_matches("//").trim().to_string()));
        }
    }
    all
}

fn declared() -> String {
    let folder = root().join("shaders");
    let source = |file: &str| std::fs::read_to_string(folder.join(format!("{file}.wgsl"))).unwrap();
    let mut out = String::from(
        "//! What the shaders declare. Made from `shaders/` by a test, and compared with them by it:\n\
         //! `BAGRAD_REWRITE=1 cargo test --test shaders declared`.\n\n\
         use super::{Binding::*, Declared};\nuse bytemuck::{Pod, Zeroable};\n",
    );
    for file in shaders(&folder) {
        let mut found = File::default();
        for variant in variants(&file) {
            read(&file, &preprocess_from(&source, &file, &variant), &mut found);
        }
        write!(out, "\n/// `shaders/{file}.wgsl`.\npub mod {file} {{\n    use super::*;\n").unwrap();
        for (name, value, about) in constants(&source, &file) {
            if !about.is_empty() {
                writeln!(out, "    /// {about}").unwrap();
            }
            writeln!(out, "    pub const {name}: u32 = {value};").unwrap();
        }
        for (name, fields) in &found.structs {
            writeln!(out, "    #[repr(C)]\n    #[derive(Clone, Copy, Pod, Zeroable)]\n    pub struct {name} {{")
                .unwrap();
            fields.iter().for_each(|(name, kind)| writeln!(out, "        pub {name}: {kind},").unwrap());
            writeln!(out, "    }}").unwrap();
        }
        for (name, entry) in &found.entries {
            let binding = |number: u32| match entry.bindings.get(&number) {
                // Something is bound where the entry points of a file share what comes after.
                None | Some((false, [true, false])) => "Read",
                Some((false, [false, true])) => "ReadIndex",
                Some((false, _)) => "ReadFeatures",
                Some((true, [true, false])) => "Write",
                Some((true, [false, true])) => "WriteIndex",
                Some((true, _)) => panic!("{file}: {name} writes features"),
            };
            let bindings: Vec<&str> = (0..=*entry.bindings.keys().last().unwrap()).map(binding).collect();
            let lanes = if entry.lanes.iter().all(|l| *l == entry.lanes[0]) { entry.lanes[0] } else { 0 };
            writeln!(
                out,
                "    pub const {name}: Declared = Declared {{\n        file: \"{file}\",\n        entry: \"{name}\",\n        \
                 bindings: &[{}],\n        words: {},\n        lanes: {lanes},\n        reduces: {},\n    }};",
                bindings.join(", "),
                entry.words,
                entry.reduces,
            )
            .unwrap();
        }
        out.push_str("}\n");
    }
    out.push_str(
        "\n/// The text of a file of `shaders/`.\npub(super) fn source(file: &str) -> Option<&'static str> {\n",
    );
    out.push_str("    Some(match file {\n");
    let common = shaders(&folder.join("common")).into_iter().map(|file| format!("common/{file}"));
    for file in shaders(&folder).into_iter().chain(common) {
        writeln!(out, "        \"{file}\" => include_str!(\"../../shaders/{file}.wgsl\"),").unwrap();
    }
    out.push_str("        _ => return None,\n    })\n}\n");
    out
}

#[test]
fn the_file_of_declarations_is_what_the_shaders_say() {
    let path = root().join("src/kernels/declared.rs");
    let (wanted, found) = (declared(), std::fs::read_to_string(&path).unwrap());
    if std::env::var_os("BAGRAD_REWRITE").is_some() {
        std::fs::write(&path, &wanted).unwrap();
        return;
    }
    let first = found.lines().zip(wanted.lines()).position(|(found, wanted)| found != wanted);
    let line = first.unwrap_or_else(|| found.lines().count().min(wanted.lines().count())) + 1;
    assert!(found == wanted, "{}:{line} is not what the shaders say; BAGRAD_REWRITE=1 makes it so", path.display());
}
