//! A computation with its numbers, and steps that compute it, as data.

use crate::bench::cases::Case;
use crate::error::{Error, Result};
use crate::random::Random;
use crate::tape::feature_stride;

/// Numbers of a buffer that steps share.
pub(super) struct Buffer {
    pub name: &'static str,
    pub count: usize,
    /// What it holds; `None` of what steps write.
    pub values: Option<Vec<f32>>,
}

/// One launch of a shader.
#[derive(Clone)]
pub(super) struct Launch {
    /// WGSL.
    pub text: String,
    pub entry: &'static str,
    /// The buffer for a variable of the shader, where the name is another.
    pub named: Vec<(&'static str, &'static str)>,
    /// Immediates.
    pub words: [u32; 4],
    pub grid: [u32; 3],
    /// What it writes is also what it reads.
    pub in_place: bool,
}

/// What computes it.
pub(super) enum Way {
    Shaders(Vec<Launch>),
    /// Shaders that use operations of subgroups.
    Subgroups(Vec<Launch>),
    /// The engine, in f32.
    Engine,
    /// The engine with factors in f16, on matrix units.
    Mixed(Box<Case>),
}

/// One rung.
pub(super) struct Step {
    pub name: &'static str,
    pub way: Way,
}

/// All that is needed to run a ladder.
pub(super) struct Problem {
    pub buffers: Vec<Buffer>,
    pub steps: Vec<Step>,
    /// The buffer of the result: `rows` of `cols` values that are `line` numbers apart.
    pub result: &'static str,
    pub rows: usize,
    pub cols: usize,
    pub line: usize,
    /// The same for the engine, with its features and parameters.
    pub case: Case,
    pub features: Vec<f32>,
    pub params: Vec<f32>,
    /// Kernels of the engine that compute it, where its launches do more; all where none is named.
    pub counted: &'static [&'static str],
}

/// `rows` of `cols` normal numbers times `scale`, at the stride of features, zeros between; `stream` makes them others.
pub(super) fn normal(rows: usize, cols: usize, scale: f64, stream: u64) -> Vec<f32> {
    const SEED: u64 = 7;
    let (mut random, stride) = (Random::new(SEED, stream), feature_stride(cols));
    let mut all = vec![0.0; rows * stride];
    for row in all.chunks_exact_mut(stride) {
        row[..cols].iter_mut().for_each(|v| *v = (scale * random.normal()) as f32);
    }
    all
}

/// Parameters of a tape, each at its place, of rows at the stride of features.
pub(super) fn parameters(case: &Case, each: &[&[f32]]) -> Vec<f32> {
    let layout = case.tape.param_layout();
    let mut all = vec![0.0; layout.total];
    for ((param, &at), values) in case.tape.params.iter().zip(&layout.offsets).zip(each) {
        let cols = param.cols as usize;
        let rows = all[at..at + param.rows as usize * cols].chunks_exact_mut(cols);
        rows.zip(values.chunks_exact(feature_stride(cols))).for_each(|(to, from)| to.copy_from_slice(&from[..cols]));
    }
    all
}

/// Workgroups of `side` for `count`.
pub(super) fn groups(count: usize, side: usize) -> u32 {
    count.div_ceil(side) as u32
}

impl Launch {
    pub fn new(text: &str, entry: &'static str, words: [usize; 4], grid: [u32; 2]) -> Self {
        let [x, y] = grid;
        let words = words.map(|word| word as u32);
        Self { text: text.to_owned(), entry, named: Vec::new(), words, grid: [x, y, 1], in_place: false }
    }

    pub fn named(self, named: &[(&'static str, &'static str)]) -> Self {
        Self { named: named.to_vec(), ..self }
    }

    pub fn in_place(self) -> Self {
        Self { in_place: true, ..self }
    }

    /// The buffer for a variable.
    pub fn buffer<'a>(&self, variable: &'a str) -> &'a str {
        self.named.iter().find(|(own, _)| *own == variable).map_or(variable, |(_, buffer)| buffer)
    }
}

impl Problem {
    pub fn buffer(&self, name: &str) -> &Buffer {
        self.buffers.iter().find(|b| b.name == name).expect("a buffer for each variable")
    }

    /// Only the steps of these names, in the order of the ladder; all where none is given.
    pub fn keep(&mut self, ladder: &str, wanted: &[String]) -> Result<()> {
        let names: Vec<&str> = self.steps.iter().map(|s| s.name).collect();
        if let Some(unknown) = wanted.iter().find(|w| !names.contains(&w.as_str())) {
            let message = format!("the ladder {ladder} has no {unknown:?}; it has: {}", names.join(", "));
            return Err(Error::setting("step", message));
        }
        self.steps.retain(|step| wanted.is_empty() || wanted.iter().any(|w| w == step.name));
        Ok(())
    }
}
