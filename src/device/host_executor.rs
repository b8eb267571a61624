//! Runs programs on the CPU: every launch calls its kernel's twin. In f32 it is the device `host`, in f64
//! the oracle of the tests.

use super::Counters;
use super::executor::{ProgramId, Step, StoreId, Upload};
use crate::error::Result;
use crate::kernels::cost::cost;
use crate::kernels::host::{Args, RawBinding};
use crate::kernels::launch::{BufferKey, Extent, Input, Launch, MAX_WORDS, Place};
use crate::kernels::{Binding, Real, Twin};
use crate::plan::Program;
use crate::tape::Storage;
use half::f16;
use std::collections::HashMap;
use std::time::Instant;

/// Most bindings a kernel may have: what a browser allows.
const MAX_BINDINGS: usize = 8;

/// What poisoned indices hold: far outside of anything, so that a twin that uses one panics.
const POISON: u32 = 0x7fc0_0000;

/// The numbers a host executor can hold: picks the twin.
pub trait Precision: Real {
    /// Runs the twin of this precision.
    fn call(twin: &Twin, args: &Args<Self>);
}

impl Precision for f32 {
    fn call(twin: &Twin, args: &Args<f32>) {
        (twin.f32)(args);
    }
}

impl Precision for f64 {
    fn call(twin: &Twin, args: &Args<f64>) {
        (twin.f64)(args);
    }
}

/// One buffer. Sizes are counted as on a GPU, in 4-byte words; what holds them depends on who uses it.
///
/// A slot may be numbers for one launch and indices for another: never the same value, so each kind has its
/// own memory, made when it is first needed.
struct HostBuffer<T> {
    key: BufferKey,
    words: usize,
    numbers: Vec<T>,
    indices: Vec<u32>,
    halves: Vec<f16>,
    /// The last upload was f16.
    half: bool,
}

impl<T: Precision> HostBuffer<T> {
    fn numbers(&mut self) -> &mut [T] {
        grow(&mut self.numbers, self.words, T::ZERO)
    }

    fn indices(&mut self) -> &mut [u32] {
        grow(&mut self.indices, self.words, 0)
    }

    fn halves(&mut self) -> &mut [f16] {
        grow(&mut self.halves, self.words * 2, f16::ZERO)
    }

    fn bytes(&self) -> u64 {
        (size_of_val(&self.numbers[..]) + size_of_val(&self.indices[..]) + size_of_val(&self.halves[..])) as u64
    }

    fn expect_words(&self, from: usize, words: usize) {
        assert!(from + words <= self.words, "{:?}: {words} values from {from} exceed its {}", self.key, self.words);
    }
}

fn grow<V: Copy>(values: &mut Vec<V>, len: usize, zero: V) -> &mut [V] {
    if values.len() < len {
        // Fresh zero pages are cheaper than moving what is lost anyway.
        *values = vec![zero; len];
    }
    values
}

/// Features that stay.
enum Store {
    Full(Vec<f32>),
    Half(Vec<f16>),
    Index(Vec<u32>),
}

/// A program with the number of the buffer of each place.
struct Loaded {
    program: Program,
    buffers: Vec<Vec<usize>>,
    /// The sizes of the last batch, and whether several cores are worth waking for it.
    large: Option<(Extent, bool)>,
}

/// Operations of a launch from which on several cores are likely to share it.
const LARGE: u64 = 1 << 23;

impl Loaded {
    fn new(program: Program, buffers: Vec<Vec<usize>>) -> Self {
        Self { program, buffers, large: None }
    }

    /// True when some launch over a batch of these sizes is worth several cores.
    fn is_large(&mut self, extent: &Extent) -> bool {
        match self.large {
            Some((of, large)) if of == *extent => large,
            _ => {
                let large = rayon::current_num_threads() > 1
                    && self.program.launches.iter().any(|l| cost(l, extent, false).flops >= LARGE);
                self.large = Some((*extent, large));
                large
            }
        }
    }
}

/// Buffers and programs of one model on the CPU.
pub struct HostExecutor<T> {
    buffers: Vec<HostBuffer<T>>,
    numbers: HashMap<BufferKey, usize>,
    programs: Vec<Loaded>,
    stores: Vec<Store>,
    history: Vec<f32>,
    counters: Counters,
    peak: u64,
}

impl<T: Precision> Default for HostExecutor<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T: Precision> HostExecutor<T> {
    /// No buffers, no programs.
    pub fn new() -> Self {
        Self {
            buffers: Vec::new(),
            numbers: HashMap::new(),
            programs: Vec::new(),
            stores: Vec::new(),
            history: Vec::new(),
            counters: Counters::default(),
            peak: 0,
        }
    }

    /// See [`super::executor::Executor::ensure`].
    pub fn ensure(&mut self, key: BufferKey, bytes: u64) -> Result<()> {
        let words = bytes.next_multiple_of(256).max(256) as usize / 4;
        let number = self.number(key);
        let buffer = &mut self.buffers[number];
        if buffer.words < words {
            let fresh = buffer.words == 0;
            *buffer = HostBuffer { words, ..empty(key) };
            self.counters.buffers += 1;
            debug_assert!(fresh || !matches!(key, BufferKey::Params), "growing the parameters loses them");
        }
        Ok(())
    }

    fn number(&mut self, key: BufferKey) -> usize {
        let next = self.buffers.len();
        let number = *self.numbers.entry(key).or_insert(next);
        if number == next {
            self.buffers.push(empty(key));
        }
        number
    }

    fn buffer(&mut self, key: BufferKey) -> &mut HostBuffer<T> {
        let number = *self.numbers.get(&key).unwrap_or_else(|| panic!("{key:?} is used before it was made"));
        &mut self.buffers[number]
    }

    /// See [`super::executor::Executor::write`].
    pub fn write(&mut self, key: BufferKey, offset: usize, values: &[f32]) -> Result<()> {
        let buffer = self.buffer(key);
        buffer.expect_words(offset, values.len());
        convert(&mut buffer.numbers()[offset..], values);
        self.note_peak();
        Ok(())
    }

    /// See [`super::executor::Executor::write_indices`].
    pub fn write_indices(&mut self, key: BufferKey, values: &[u32]) -> Result<()> {
        let buffer = self.buffer(key);
        buffer.expect_words(0, values.len());
        buffer.indices()[..values.len()].copy_from_slice(values);
        self.note_peak();
        Ok(())
    }

    fn values(&mut self, place: Place, count: usize) -> &[T] {
        let from = (place.offset / 4) as usize;
        let buffer = self.buffer(place.buffer);
        buffer.expect_words(from, count);
        &buffer.numbers()[from..from + count]
    }

    /// See [`super::executor::Executor::read`].
    pub fn read(&mut self, place: Place, count: usize) -> Result<Vec<f64>> {
        self.counters.readbacks += 1;
        Ok(self.values(place, count).iter().map(|v| v.f64()).collect())
    }

    /// See [`super::executor::Executor::read_f32`].
    pub fn read_f32(&mut self, place: Place, count: usize) -> Result<Vec<f32>> {
        self.counters.readbacks += 1;
        Ok(self.values(place, count).iter().map(|v| v.f64() as f32).collect())
    }

    /// See [`super::executor::Executor::read_indices`].
    pub fn read_indices(&mut self, place: Place, count: usize) -> Result<Vec<u32>> {
        self.counters.readbacks += 1;
        let from = (place.offset / 4) as usize;
        let buffer = self.buffer(place.buffer);
        buffer.expect_words(from, count);
        Ok(buffer.indices()[from..from + count].to_vec())
    }

    /// See [`super::executor::Executor::load`].
    pub fn load(&mut self, program: Program) -> Result<ProgramId> {
        let loaded = self.prepare(program)?;
        self.programs.push(loaded);
        Ok(ProgramId(self.programs.len() - 1))
    }

    /// See [`super::executor::Executor::reload`].
    pub fn reload(&mut self, id: ProgramId, program: Program) -> Result<()> {
        self.programs[id.0] = self.prepare(program)?;
        Ok(())
    }

    fn prepare(&mut self, program: Program) -> Result<Loaded> {
        self.counters.programs += 1;
        for (slot, &bytes) in program.slots.iter().enumerate() {
            self.ensure(BufferKey::Slot(slot as u16), bytes)?;
        }
        for &(key, bytes) in &program.inputs {
            self.ensure(key, bytes)?;
        }
        let mut buffers = Vec::with_capacity(program.launches.len());
        for launch in &program.launches {
            let name = launch.kernel.name;
            assert!(launch.places.len() <= MAX_BINDINGS, "{name} has more than {MAX_BINDINGS} bindings");
            assert_disjoint(launch);
            let mut numbers = Vec::with_capacity(launch.places.len());
            for (place, kind) in launch.places.iter().zip(launch.kernel.bindings) {
                if !self.numbers.contains_key(&place.buffer) {
                    self.ensure(place.buffer, place.offset + place.bytes)?;
                }
                let number = self.number(place.buffer);
                let buffer = &mut self.buffers[number];
                assert!((place.offset / 4) < buffer.words as u64, "{name}: {place:?} is outside of its buffer");
                match kind {
                    // In f16 or f32: the first upload tells.
                    Binding::Read | Binding::ReadFeatures if place.buffer == BufferKey::Input(Input::Features) => {}
                    Binding::Read | Binding::Write | Binding::ReadFeatures => drop(buffer.numbers()),
                    Binding::ReadIndex | Binding::WriteIndex => drop(buffer.indices()),
                }
                numbers.push(number);
            }
            buffers.push(numbers);
        }
        self.note_peak();
        Ok(Loaded::new(program, buffers))
    }

    /// See [`super::executor::Executor::program`].
    pub fn program(&self, id: ProgramId) -> &Program {
        &self.programs[id.0].program
    }

    fn upload(&mut self, upload: &Upload) {
        match *upload {
            Upload::F32(key, values) => {
                let buffer = self.buffer(key);
                buffer.expect_words(0, values.len());
                buffer.half = false;
                convert(buffer.numbers(), values);
            }
            Upload::F16(key, values) => {
                let buffer = self.buffer(key);
                buffer.expect_words(0, values.len().div_ceil(2));
                buffer.half = true;
                buffer.halves()[..values.len()].copy_from_slice(values);
            }
            Upload::U32(key, values) => {
                let buffer = self.buffer(key);
                buffer.expect_words(0, values.len());
                buffer.indices()[..values.len()].copy_from_slice(values);
            }
            Upload::Stored { key, to, store, from, bytes } => {
                let number = *self.numbers.get(&key).unwrap_or_else(|| panic!("{key:?} is used before it was made"));
                let (buffer, store) = (&mut self.buffers[number], &self.stores[store.0]);
                buffer.expect_words((to / 4) as usize, (bytes / 4) as usize);
                let part = |size: usize| {
                    let (to, from, count) = (to as usize / size, from as usize / size, bytes as usize / size);
                    (to..to + count, from..from + count)
                };
                buffer.half = matches!(store, Store::Half(_));
                match store {
                    Store::Full(values) => {
                        let (to, from) = part(4);
                        convert(&mut buffer.numbers()[to], &values[from]);
                    }
                    Store::Half(values) => {
                        let (to, from) = part(2);
                        buffer.halves()[to].copy_from_slice(&values[from]);
                    }
                    Store::Index(values) => {
                        let (to, from) = part(4);
                        buffer.indices()[to].copy_from_slice(&values[from]);
                    }
                }
            }
        }
    }

    fn launch(&mut self, id: ProgramId, n: usize, step: &Step) {
        let loaded = &self.programs[id.0];
        let launch = &loaded.program.launches[n];
        let [x, y, z] = launch.grid.groups(&step.extent, u32::MAX);
        if x == 0 || y == 0 || z == 0 {
            return;
        }
        let mut raw = [RawBinding::Float(std::ptr::null_mut(), 0); MAX_BINDINGS];
        let kinds = launch.kernel.bindings.iter();
        for (raw, ((place, kind), &number)) in
            raw.iter_mut().zip(launch.places.iter().zip(kinds).zip(&loaded.buffers[n]))
        {
            *raw = bind(&mut self.buffers[number], place, *kind);
        }
        let words: [u32; MAX_WORDS] = launch.resolve(&step.extent, &step.scalars, x);
        // SAFETY: the pointers lie in vectors of `self.buffers`, which nothing touches until the twin
        // returns. `prepare` checked that written places overlap no other.
        let args = unsafe { Args::new(&raw[..launch.places.len()], launch.kernel.bindings, words) };
        T::call(&launch.kernel.twin, &args);
        self.counters.dispatches += 1;
    }

    fn begin(&mut self, id: ProgramId, step: &Step) {
        let capacity = self.programs[id.0].program.capacity;
        assert!(capacity.holds(&step.extent), "{:?} exceeds the planned {capacity:?}", step.extent);
        step.uploads.iter().for_each(|upload| self.upload(upload));
    }

    /// See [`super::executor::Executor::run`].
    pub fn run(&mut self, id: ProgramId, step: &Step) -> Result<()> {
        // From outside of the pool every launch on several cores would hand its work over and sleep until
        // it is done. A step that has such launches is handed over once.
        let large = self.programs[id.0].is_large(&step.extent);
        self.begin(id, step);
        let mut launches = || (0..self.programs[id.0].program.launches.len()).for_each(|n| self.launch(id, n, step));
        match large {
            true => rayon::scope(|_| launches()),
            false => launches(),
        }
        for &(place, count, first) in step.keep {
            let (from, count, first) = ((place.offset / 4) as usize, count as usize, first as usize);
            assert!(first + count <= self.history.len(), "value {first} is beyond the reserved history");
            let number = self.numbers[&place.buffer];
            let values = &self.buffers[number].numbers()[from..from + count];
            for (kept, value) in self.history[first..].iter_mut().zip(values) {
                *kept = value.f64() as f32;
            }
        }
        self.counters.passes += 1;
        self.counters.submissions += 1;
        self.note_peak();
        Ok(())
    }

    /// See [`super::executor::Executor::reserve_history`].
    pub fn reserve_history(&mut self, values: usize) -> Result<()> {
        self.history.resize(values.max(self.history.len()), 0.0);
        Ok(())
    }

    /// See [`super::executor::Executor::history_room`].
    pub fn history_room(&self) -> usize {
        self.history.len()
    }

    /// See [`super::executor::Executor::history`].
    pub fn history(&mut self, count: usize) -> Result<Vec<f32>> {
        self.counters.readbacks += 1;
        Ok(self.history[..count].to_vec())
    }

    /// See [`super::executor::Executor::store`].
    pub fn store(&mut self, bytes: &[u8], storage: Storage) -> Result<Option<StoreId>> {
        let store = match storage {
            Storage::F32 => Store::Full(bytemuck::pod_collect_to_vec(bytes)),
            Storage::F16 => Store::Half(bytemuck::pod_collect_to_vec(bytes)),
            Storage::U32 => Store::Index(bytemuck::pod_collect_to_vec(bytes)),
        };
        self.stores.push(store);
        self.note_peak();
        Ok(Some(StoreId(self.stores.len() - 1)))
    }

    /// See [`super::executor::Executor::store_limit`].
    pub fn store_limit(&self) -> u64 {
        u64::MAX
    }

    /// See [`super::executor::Executor::wait`].
    pub fn wait(&mut self) -> Result<()> {
        Ok(())
    }

    /// See [`super::executor::Executor::poison`].
    pub fn poison(&mut self) -> Result<()> {
        for buffer in self.buffers.iter_mut().filter(|b| matches!(b.key, BufferKey::Slot(_))) {
            buffer.numbers.fill(T::new(f64::NAN));
            buffer.indices.fill(POISON);
        }
        Ok(())
    }

    /// See [`super::executor::Executor::counters`].
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// See [`super::executor::Executor::memory`].
    pub fn memory(&self) -> (u64, u64) {
        (self.held(), self.peak)
    }

    fn held(&self) -> u64 {
        let stored = |store: &Store| match store {
            Store::Full(values) => values.len() as u64 * 4,
            Store::Half(values) => values.len() as u64 * 2,
            Store::Index(values) => values.len() as u64 * 4,
        };
        let buffers: u64 = self.buffers.iter().map(HostBuffer::bytes).sum();
        buffers + self.stores.iter().map(stored).sum::<u64>() + self.history.len() as u64 * 4
    }

    fn note_peak(&mut self) {
        self.peak = self.peak.max(self.held());
    }

    /// See [`super::executor::Executor::time_runs`].
    pub fn time_runs(&mut self, id: ProgramId, step: &Step, repeats: usize) -> Result<Vec<f64>> {
        (0..repeats)
            .map(|_| {
                let start = Instant::now();
                self.run(id, step)?;
                Ok(start.elapsed().as_secs_f64())
            })
            .collect()
    }

    /// See [`super::executor::Executor::profile`].
    pub fn profile(&mut self, id: ProgramId, step: &Step) -> Result<Vec<(&'static str, f64)>> {
        self.begin(id, step);
        let count = self.programs[id.0].program.launches.len();
        let large = self.programs[id.0].is_large(&step.extent);
        let time = |n| {
            let start = Instant::now();
            self.launch(id, n, step);
            (self.programs[id.0].program.launches[n].kernel.name, start.elapsed().as_secs_f64() * 1e9)
        };
        let times = || (0..count).map(time).collect();
        Ok(if large { rayon::scope(|_| times()) } else { times() })
    }
}

fn empty<T>(key: BufferKey) -> HostBuffer<T> {
    HostBuffer { key, words: 0, numbers: Vec::new(), indices: Vec::new(), halves: Vec::new(), half: false }
}

fn convert<T: Real>(to: &mut [T], from: &[f32]) {
    for (to, from) in to.iter_mut().zip(from) {
        *to = T::from_f32(*from);
    }
}

/// What a twin gets for a place: as many values as its bytes hold, clipped to the buffer.
fn bind<T: Precision>(buffer: &mut HostBuffer<T>, place: &Place, kind: Binding) -> RawBinding<T> {
    let from = (place.offset / 4) as usize;
    let words = (place.bytes as usize).div_ceil(4).min(buffer.words - from);
    // The pointers come from the vectors themselves and not from slices of them, so that those of one
    // buffer, bound in several places, stay valid beside each other.
    match kind {
        // As `Read` they stand in for an operand that a launch does without, unread.
        Binding::Read | Binding::ReadFeatures if buffer.half => {
            if buffer.halves.len() < buffer.words * 2 {
                buffer.halves();
            }
            // SAFETY: inside the vector, which has twice `buffer.words` values.
            RawBinding::Half(unsafe { buffer.halves.as_ptr().add(from * 2) }, words * 2)
        }
        Binding::Read | Binding::Write | Binding::ReadFeatures => {
            if buffer.numbers.len() < buffer.words {
                buffer.numbers();
            }
            // SAFETY: inside the vector, which has `buffer.words` values.
            RawBinding::Float(unsafe { buffer.numbers.as_mut_ptr().add(from) }, words)
        }
        Binding::ReadIndex | Binding::WriteIndex => {
            if buffer.indices.len() < buffer.words {
                buffer.indices();
            }
            // SAFETY: inside the vector, which has `buffer.words` values.
            RawBinding::Index(unsafe { buffer.indices.as_mut_ptr().add(from) }, words)
        }
    }
}

/// A written place overlaps no other: what lets a twin hold a `&mut` slice of it.
fn assert_disjoint(launch: &Launch) {
    for (i, (a, kind)) in launch.places.iter().zip(launch.kernel.bindings).enumerate() {
        for (j, b) in launch.places.iter().enumerate() {
            let apart = a.buffer != b.buffer || a.offset + a.bytes <= b.offset || b.offset + b.bytes <= a.offset;
            assert!(i == j || !kind.writes() || apart, "{}: {a:?} is written and overlaps {b:?}", launch.kernel.name);
        }
    }
}
