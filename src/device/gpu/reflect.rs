//! Reads what a shader from outside declares, by the compiler that wgpu has.

use crate::device::foreign::{Access, Bound, Entry, Leaf, Scalar};
use crate::error::{Error, Result};
use wgpu::naga::{AddressSpace, ArraySize, GlobalVariable, Handle, Module, ScalarKind, ShaderStage, StorageAccess};
use wgpu::naga::{Type, TypeInner, front, valid};

/// More values than this are not told one by one.
const LEAVES: usize = 256;

/// The entry point `name` of WGSL `text`, or the only one where `name` is `None`.
///
/// # Errors
/// [`Error::Device`] with the compiler's message, or with what there is where the name does not fit, and for bindings
/// that are no buffers.
pub fn reflect(text: &str, name: Option<&str>) -> Result<Entry> {
    let refused = |message: String| Error::Device { message };
    let module = front::wgsl::parse_str(text).map_err(|e| refused(format!("WGSL: {}", e.emit_to_string(text))))?;
    let mut validator = valid::Validator::new(valid::ValidationFlags::all(), valid::Capabilities::all());
    let info = validator.validate(&module).map_err(|e| refused(format!("WGSL: {}", e.emit_to_string(text))))?;
    let compute = |e: &&wgpu::naga::EntryPoint| e.stage == ShaderStage::Compute;
    let names: Vec<&str> = module.entry_points.iter().filter(compute).map(|e| e.name.as_str()).collect();
    let name = match (name, &names[..]) {
        (Some(name), names) if names.contains(&name) => name,
        (None, [only]) => only,
        (_, []) => return Err(refused("the shader has no @compute entry point".into())),
        (Some(name), names) => {
            return Err(refused(format!("there is no @compute entry point {name:?}; there is {}", names.join(", "))));
        }
        (None, names) => return Err(refused(format!("name one entry point with --entry: {}", names.join(", ")))),
    };
    let at = module.entry_points.iter().position(|e| e.name == name).expect("it is one of them");
    let (entry, used) = (&module.entry_points[at], info.get_entry_point(at));
    let mut bound = Vec::new();
    let mut workgroup_memory = 0;
    for (handle, global) in module.global_variables.iter().filter(|(handle, _)| !used[*handle].is_empty()) {
        match global.space {
            AddressSpace::WorkGroup => workgroup_memory += module.types[global.ty].inner.size(module.to_ctx()),
            AddressSpace::Private => {}
            _ => bound.push(describe(&module, handle, global)?),
        }
    }
    bound.sort_by_key(|b| (b.access == Access::Immediate, b.group, b.binding));
    let constants = module.overrides.iter().map(|(_, o)| {
        let name = o.id.map(|id| id.to_string()).or_else(|| o.name.clone());
        (name.unwrap_or_default(), o.init.is_some())
    });
    Ok(Entry {
        name: name.to_owned(),
        workgroup: entry.workgroup_size_overrides.is_none().then_some(entry.workgroup_size),
        workgroup_memory,
        bound,
        constants: constants.collect(),
    })
}

fn describe(module: &Module, _: Handle<GlobalVariable>, global: &GlobalVariable) -> Result<Bound> {
    let name = global.name.clone().unwrap_or_default();
    let access = match global.space {
        AddressSpace::Uniform => Access::Uniform,
        AddressSpace::Storage { access } if access.contains(StorageAccess::STORE) => Access::Write,
        AddressSpace::Storage { .. } => Access::Read,
        AddressSpace::Immediate => Access::Immediate,
        other => {
            let message = format!("{name:?} is in {other:?} space; only buffers and immediates can be bound here");
            return Err(Error::Device { message });
        }
    };
    let (group, binding) = global.binding.as_ref().map_or((0, 0), |b| (b.group, b.binding));
    let mut found = Found { module, leaves: Vec::new(), kinds: Vec::new(), array: None, too_many: false };
    found.walk(global.ty, String::new(), 0);
    let mut kinds = found.kinds;
    kinds.dedup();
    let scalar = match kinds[..] {
        [one] => one,
        _ => None,
    };
    let leaves = if found.array.is_some() || found.too_many { Vec::new() } else { found.leaves };
    let least = module.types[global.ty].inner.size(module.to_ctx()).into();
    Ok(Bound { group, binding, name, access, scalar, least, array: found.array, leaves })
}

/// What is met on the way through a type.
struct Found<'a> {
    module: &'a Module,
    leaves: Vec<Leaf>,
    kinds: Vec<Option<Scalar>>,
    array: Option<(u64, u64)>,
    too_many: bool,
}

fn scalar(of: wgpu::naga::Scalar) -> Option<Scalar> {
    Some(match (of.kind, of.width) {
        (ScalarKind::Float, 4) => Scalar::F32,
        (ScalarKind::Float, 2) => Scalar::F16,
        (ScalarKind::Uint, 4) => Scalar::U32,
        (ScalarKind::Sint, 4) => Scalar::I32,
        _ => return None,
    })
}

impl Found<'_> {
    fn leaf(&mut self, name: String, offset: u32, of: wgpu::naga::Scalar) {
        let kind = scalar(of);
        if !self.kinds.contains(&kind) {
            self.kinds.push(kind);
        }
        match kind {
            Some(scalar) if self.leaves.len() < LEAVES => self.leaves.push(Leaf { name, offset, scalar }),
            _ => self.too_many = true,
        }
    }

    fn walk(&mut self, ty: Handle<Type>, name: String, offset: u32) {
        let dotted = |name: &str, part: &str| match name {
            "" => part.to_owned(),
            _ => format!("{name}.{part}"),
        };
        let side = |n: u32| ["x", "y", "z", "w"][n as usize];
        match &self.module.types[ty].inner {
            TypeInner::Scalar(of) | TypeInner::Atomic(of) => self.leaf(name, offset, *of),
            TypeInner::Vector { size, scalar } => {
                for n in 0..*size as u32 {
                    self.leaf(dotted(&name, side(n)), offset + n * u32::from(scalar.width), *scalar);
                }
            }
            TypeInner::Matrix { columns, rows, scalar } => {
                // Columns lie as vectors do: three rows as far apart as four.
                let apart = if *rows as u32 == 2 { 2 } else { 4 } * u32::from(scalar.width);
                for column in 0..*columns as u32 {
                    for row in 0..*rows as u32 {
                        let name = format!("{name}[{column}].{}", side(row));
                        self.leaf(name, offset + column * apart + row * u32::from(scalar.width), *scalar);
                    }
                }
            }
            TypeInner::Array { base, size: ArraySize::Constant(size), stride } => {
                // One more than can be told is enough to know that there are too many.
                for n in 0..size.get().min(LEAVES as u32 + 1) {
                    self.walk(*base, format!("{name}[{n}]"), offset + n * stride);
                }
            }
            TypeInner::Array { base, stride, .. } => {
                self.array = Some((offset.into(), (*stride).into()));
                self.walk(*base, format!("{name}[0]"), offset);
            }
            TypeInner::Struct { members, .. } => {
                for member in members {
                    let part = member.name.as_deref().unwrap_or_default();
                    self.walk(member.ty, dotted(&name, part), offset + member.offset);
                }
            }
            _ => {
                self.kinds.push(None);
                self.too_many = true;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "
        struct P { n: u32, size: vec2<u32>, s: f32 }
        struct Rows { count: u32, rows: array<vec4<f32>> }
        @group(1) @binding(2) var<uniform> p: P;
        @group(0) @binding(1) var<storage, read_write> y: array<f32>;
        @group(0) @binding(0) var<storage> x: Rows;
        @group(0) @binding(7) var<storage> unused: array<f32>;
        var<immediate> k: u32;
        var<workgroup> w: array<f32, 64>;
        override scale: f32 = 2.0;
        override many: u32;
        @compute @workgroup_size(8, 4) fn first(@builtin(local_invocation_index) i: u32) {
            w[i] = x.rows[k].x * p.s; workgroupBarrier(); y[i] = scale * w[i] * f32(many);
        }
        @compute @workgroup_size(many) fn second() { y[0] = 1.0; }";

    #[test]
    fn an_entry_point_is_read() {
        let entry = reflect(TEXT, Some("first")).unwrap();
        assert_eq!((entry.workgroup, entry.workgroup_memory), (Some([8, 4, 1]), 256));
        let names: Vec<&str> = entry.bound.iter().map(|b| b.name.as_str()).collect();
        assert_eq!(names, ["x", "y", "p", "k"]);
        let [x, y, p, k] = &entry.bound[..] else { panic!() };
        assert_eq!((x.access, x.scalar, x.array), (Access::Read, None, Some((16, 16))));
        assert_eq!((y.access, y.scalar, y.array), (Access::Write, Some(Scalar::F32), Some((0, 4))));
        assert_eq!((p.access, p.group, p.binding, p.least), (Access::Uniform, 1, 2, 24));
        let leaves: Vec<(&str, u32)> = p.leaves.iter().map(|l| (l.name.as_str(), l.offset)).collect();
        assert_eq!(leaves, [("n", 0), ("size.x", 8), ("size.y", 12), ("s", 16)]);
        assert_eq!((k.access, k.least, k.leaves.len()), (Access::Immediate, 4, 1));
        assert_eq!(entry.constants, [("scale".to_owned(), true), ("many".to_owned(), false)]);
        assert_eq!(reflect(TEXT, Some("second")).unwrap().workgroup, None);
    }

    #[test]
    fn what_cannot_be_launched_is_refused() {
        let refused = |text: &str, name| reflect(text, name).unwrap_err().to_string();
        assert!(refused(TEXT, None).contains("name one entry point with --entry: first, second"));
        assert!(refused(TEXT, Some("third")).contains("no @compute entry point \"third\"; there is first, second"));
        assert!(refused("fn f() {}", None).contains("no @compute"));
        assert!(refused("fn f( {}", None).contains("expected"));
        let texture = "@group(0) @binding(0) var t: texture_2d<f32>;
            @compute @workgroup_size(1) fn f() { _ = textureLoad(t, vec2(0), 0); }";
        assert!(refused(texture, None).contains("only buffers and immediates"));
    }
}
