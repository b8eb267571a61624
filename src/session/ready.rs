//! Making a session ready for batches of a size: room for them, programs, and what is done where they do not fit.

use super::Session;
use super::windowed::Windows;
use crate::device::Device;
use crate::device::executor::ProgramId;
use crate::error::{Error, Result};
use crate::kernels::launch::{BufferKey, Dim, Extent};
use crate::plan::windows::Windowed;
use crate::plan::{self, Program, Purpose, Target, columns};

impl Session {
    pub(super) fn target(&self) -> Target {
        let target = self.device.target_for(self.tape.mixed.is_some());
        Target { max_binding: self.binding.unwrap_or(u64::MAX).min(target.max_binding), ..target }
    }

    /// Binds at most this much of a buffer at once, where the device could bind more (`None`: what it can): to see what
    /// a device with smaller limits makes of a batch. Set it first, as it holds for programs planned from now on.
    pub fn limit_bindings(&mut self, bytes: Option<u64>) {
        self.binding = bytes;
        self.too_many = None;
    }

    /// Uses at most about this much device memory (`None`: what there is). Batches that need more run in
    /// windows of rows. Applies to programs planned from now on, so set it first.
    pub fn set_budget(&mut self, bytes: Option<u64>) {
        self.budget = bytes;
        self.too_many = None;
    }

    /// Makes room for batches of this size, so that later steps of at most this size create nothing.
    ///
    /// # Errors
    /// [`Error::Limit`] for a batch that does not fit whole, and what else the device answers when a program
    /// is planned anew.
    pub fn reserve(&mut self, extent: Extent) -> Result<()> {
        let extent = self.counted(extent);
        if self.capacity.holds(&extent) {
            return Ok(());
        }
        let old = self.capacity;
        self.capacity = old.grown(extent);
        for (purpose, id) in self.programs.clone() {
            // A batch that does not fit must not keep later ones, which do, from running.
            let program = self.plan_whole(purpose);
            program.and_then(|p| self.executor.reload(id, p)).inspect_err(|_| self.capacity = old)?;
        }
        Ok(())
    }

    fn plan_whole(&self, purpose: Purpose) -> Result<Program> {
        let program = plan::plan(&self.tape, purpose, self.target(), self.capacity)?;
        self.check_budget(std::iter::once(&program), 0)?;
        Ok(program)
    }

    /// Without the number of pairs where the model looks at none, so that no program is planned anew for them.
    pub(super) fn counted(&self, extent: Extent) -> Extent {
        let pairs = self.tape.values.iter().any(|v| v.shape.rows == Dim::Pairs);
        Extent { pairs: if pairs { extent.pairs } else { 0 }, ..extent }
    }

    /// Plans and loads what a purpose needs, for the capacity reserved so far.
    ///
    /// # Errors
    /// [`Error::Limit`] and what else the device answers.
    pub fn prepare(&mut self, purpose: Purpose) -> Result<ProgramId> {
        if let Some((_, id)) = self.programs.iter().find(|(p, _)| *p == purpose) {
            return Ok(*id);
        }
        self.ensure_flat(purpose)?;
        // As in `reserve`: what is loaded already decides how large batches may be.
        let fallback = if self.programs.is_empty() { Extent::default() } else { self.capacity };
        let program = self.plan_whole(purpose);
        let id = program.and_then(|p| self.executor.load(p)).inspect_err(|_| self.capacity = fallback)?;
        self.programs.push((purpose, id));
        Ok(id)
    }

    /// Gradients, optimiser states and groups, as a purpose needs them.
    pub(super) fn ensure_flat(&mut self, purpose: Purpose) -> Result<()> {
        let bytes = self.model.layout().total as u64 * 4;
        if !purpose.only_forward() {
            self.executor.ensure(BufferKey::Grads, bytes)?;
        }
        if self.tape.passes.follower.is_some() {
            self.executor.ensure(BufferKey::Follower, bytes)?;
        }
        let Some(optimiser) = purpose.optimiser() else { return Ok(()) };
        for state in 0..optimiser.states() {
            self.executor.ensure(BufferKey::State(state), bytes)?;
        }
        if self.tape.groups.groups.iter().any(|g| g.second) && optimiser.second.is_none() {
            return Err(Error::setting("groups", "a group is for the second rule; the optimiser has none"));
        }
        self.write_groups()
    }

    /// Plans and loads what batches of this size need: whole, in windows of rows, or in blocks of columns. True when
    /// they will run in windows.
    ///
    /// # Errors
    /// [`Error::Limit`] for a batch that the device can run in none of these ways, and what else it answers.
    pub fn make_ready(&mut self, purpose: Purpose, extent: Extent) -> Result<bool> {
        if self.too_many.is_none_or(|n| extent.instances < n) && !self.windows_are_shorter(purpose, extent)? {
            match self.ready_whole(purpose, extent) {
                Ok(()) => return Ok(false),
                Err(limit @ Error::Limit { .. }) => {
                    if self.windows.is_none() {
                        match Windowed::of(&self.tape) {
                            Ok(tape) => self.windows = Some(Windows::new(tape)),
                            Err(_) => {
                                self.split_columns(purpose, extent, limit)?;
                                return Ok(false);
                            }
                        }
                    }
                    self.too_many = Some(extent.instances);
                }
                Err(other) => return Err(other),
            }
        }
        self.ready_windows(purpose, extent)?;
        Ok(true)
    }

    /// True when a launch over the whole batch is too long for a GPU, and windows of its rows can run instead.
    fn windows_are_shorter(&mut self, purpose: Purpose, extent: Extent) -> Result<bool> {
        let known = self.short.iter().find(|(of, _)| *of == purpose).map_or(0, |(_, rows)| *rows);
        if extent.instances <= known || !matches!(self.device, Device::Gpu(_)) {
            return Ok(false);
        }
        let extent = self.capacity.grown(self.counted(extent));
        // A batch that does not fit at all is told of where it is made ready.
        let Ok(program) = plan::plan(&self.tape, purpose, self.target(), extent) else { return Ok(false) };
        if self.executor.is_too_long(&program, &extent) {
            if self.windows.is_none() {
                self.windows = Windowed::of(&self.tape).ok().map(Windows::new);
            }
            if self.windows.is_some() {
                self.too_many = Some(extent.instances);
                return Ok(true);
            }
        }
        self.short.retain(|(of, _)| *of != purpose);
        self.short.push((purpose, extent.instances));
        Ok(false)
    }

    pub(super) fn ready_whole(&mut self, purpose: Purpose, extent: Extent) -> Result<()> {
        self.reserve(extent)?;
        self.prepare(purpose)?;
        self.looks_before(purpose).into_iter().try_for_each(|look| self.prepare(look).map(|_| ()))
    }

    /// Splits values that exceed a binding into blocks of columns, as few as do, for a method that needs whole bags.
    /// What cannot be split keeps its `limit`, which is what its user can act on; so does a budget.
    fn split_columns(&mut self, purpose: Purpose, extent: Extent, limit: Error) -> Result<()> {
        if !matches!(limit, Error::Limit { limit: "max_storage_buffer_binding_size", .. }) {
            return Err(limit);
        }
        let rows = extent.instances.max(extent.tokens).max(1) as u64;
        let fits = (self.target().max_binding / (4 * rows)).min(1 << 16) as u32;
        let whole = self.tape.clone();
        let mut most = fits.checked_ilog2().map_or(0, |log| 1 << log);
        while most >= 4 {
            match columns::split(&whole, most) {
                Ok(tape) => self.tape = tape,
                Err(_) => break,
            }
            match self.replan().and_then(|()| self.ready_whole(purpose, extent)) {
                Ok(()) => return Ok(()),
                Err(Error::Limit { .. }) => most /= 2,
                Err(other) => return Err(other),
            }
        }
        self.tape = whole;
        self.replan()?;
        Err(limit)
    }
}
