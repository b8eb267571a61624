//! Microsoft's compiler of HLSL from a shared library, through the four interfaces that it takes.
//!
//! Its objects follow COM: a pointer to a table of functions. On Linux the tables of libraries up to version 1.7 hold
//! two destructors after the three functions of IUnknown, which is what every index below counts in.

use std::ffi::{CString, c_char, c_int, c_void};
use std::path::Path;
use std::ptr::null_mut;

type Object = *mut c_void;
type Code = i32;

#[repr(C)]
struct Guid(u32, u16, u16, [u8; 8]);

const CLASS_LIBRARY: Guid = Guid(0x6245d6af, 0x66e0, 0x48fd, [0x80, 0xb4, 0x4d, 0x27, 0x17, 0x96, 0x74, 0x8c]);
const LIBRARY: Guid = Guid(0xe5204dc7, 0xd18c, 0x4c3c, [0xbd, 0xfb, 0x85, 0x16, 0x73, 0x98, 0x0f, 0xe7]);
const CLASS_COMPILER: Guid = Guid(0x73e22d93, 0xe6ce, 0x47f3, [0xb5, 0xbf, 0xf0, 0x66, 0x4f, 0x39, 0xc1, 0xb0]);
const COMPILER: Guid = Guid(0x8c210bf3, 0x011f, 0x4422, [0x8d, 0x70, 0x6f, 0x9a, 0xcb, 0x8d, 0xb6, 0x17]);

const RELEASE: usize = 2;
const BLOB_POINTER: usize = 5;
const BLOB_SIZE: usize = 6;
const LIBRARY_BLOB_FROM_PINNED: usize = 8;
const COMPILER_COMPILE: usize = 5;
const RESULT_STATUS: usize = 5;
const RESULT_BLOB: usize = 6;
const RESULT_ERRORS: usize = 7;

/// Text is in UTF-8.
const UTF8: u32 = 65001;

unsafe extern "C" {
    fn dlopen(file: *const c_char, flags: c_int) -> *mut c_void;
    fn dlsym(library: *mut c_void, name: *const c_char) -> *mut c_void;
}

/// The function of an object at this place of its table.
unsafe fn function(object: Object, index: usize) -> *const c_void {
    unsafe { *(*object.cast::<*const *const c_void>()).add(index) }
}

macro_rules! call {
    ($object:expr, $index:expr, ($($kind:ty),*) -> $result:ty $(, $argument:expr)*) => {{
        let object = $object;
        let f: unsafe extern "C" fn(Object $(, $kind)*) -> $result = std::mem::transmute(function(object, $index));
        f(object $(, $argument)*)
    }};
}

/// Released when dropped.
struct Owned(Object);

impl Drop for Owned {
    fn drop(&mut self) {
        if !self.0.is_null() {
            unsafe { call!(self.0, RELEASE, () -> u32) };
        }
    }
}

impl Owned {
    /// The bytes of a blob.
    fn bytes(&self) -> &[u8] {
        if self.0.is_null() {
            return &[];
        }
        unsafe {
            let from = call!(self.0, BLOB_POINTER, () -> *const u8);
            let count = call!(self.0, BLOB_SIZE, () -> usize);
            if from.is_null() { &[] } else { std::slice::from_raw_parts(from, count) }
        }
    }
}

/// A compiler, for one thread.
pub struct Dxc {
    library: Owned,
    compiler: Owned,
}

impl Dxc {
    /// From a shared library.
    pub fn open(path: &Path) -> Result<Self, String> {
        const NOW: c_int = 2;
        let file = CString::new(path.to_str().ok_or("a path that is no text")?).map_err(|e| e.to_string())?;
        unsafe {
            let library = dlopen(file.as_ptr(), NOW);
            if library.is_null() {
                return Err(format!("{}: it cannot be loaded", path.display()));
            }
            let create = dlsym(library, c"DxcCreateInstance".as_ptr());
            if create.is_null() {
                return Err(format!("{}: no DxcCreateInstance in it", path.display()));
            }
            let create: unsafe extern "C" fn(*const Guid, *const Guid, *mut Object) -> Code =
                std::mem::transmute(create);
            let make = |class: &Guid, kind: &Guid| {
                let mut object = null_mut();
                match create(class, kind, &mut object) {
                    0 => Ok(Owned(object)),
                    code => Err(format!("DxcCreateInstance: {code:#x}")),
                }
            };
            Ok(Self { library: make(&CLASS_LIBRARY, &LIBRARY)?, compiler: make(&CLASS_COMPILER, &COMPILER)? })
        }
    }

    /// DXIL of a text, or what the compiler says against it.
    pub fn compile(&self, text: &str, entry: &str, profile: &str, arguments: &[&str]) -> Result<Vec<u8>, String> {
        // A character has four bytes on Linux.
        let wide = |text: &str| -> Vec<u32> { text.chars().map(u32::from).chain([0]).collect() };
        let (name, entry, profile) = (wide("shader.hlsl"), wide(entry), wide(profile));
        let arguments: Vec<Vec<u32>> = arguments.iter().map(|a| wide(a)).collect();
        let arguments: Vec<*const u32> = arguments.iter().map(|a| a.as_ptr()).collect();
        unsafe {
            let mut source = Owned(null_mut());
            let code = call!(
                self.library.0, LIBRARY_BLOB_FROM_PINNED, (*const u8, u32, u32, *mut Object) -> Code,
                text.as_ptr(), text.len() as u32, UTF8, &mut source.0
            );
            if code != 0 {
                return Err(format!("a text of {} bytes is not taken: {code:#x}", text.len()));
            }
            let mut result = Owned(null_mut());
            type W = *const u32;
            let code = call!(
                self.compiler.0, COMPILER_COMPILE,
                (Object, W, W, W, *const W, u32, *const c_void, u32, Object, *mut Object) -> Code,
                source.0, name.as_ptr(), entry.as_ptr(), profile.as_ptr(), arguments.as_ptr(), arguments.len() as u32,
                null_mut(), 0, null_mut(), &mut result.0
            );
            if code != 0 {
                return Err(format!("the compiler gave up: {code:#x}"));
            }
            let (mut status, mut blob, mut errors): (Code, _, _) = (-1, Owned(null_mut()), Owned(null_mut()));
            call!(result.0, RESULT_STATUS, (*mut Code) -> Code, &mut status);
            call!(result.0, RESULT_ERRORS, (*mut Object) -> Code, &mut errors.0);
            if status != 0 {
                let message = String::from_utf8_lossy(errors.bytes()).into_owned();
                return Err(message.lines().take(8).collect::<Vec<_>>().join("\n"));
            }
            call!(result.0, RESULT_BLOB, (*mut Object) -> Code, &mut blob.0);
            Ok(blob.bytes().to_vec())
        }
    }
}
