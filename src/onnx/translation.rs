//! A tape in prediction, node by node, as a graph for one bag: its instances are the whole matrix, and what has a row for
//! each bag has one row.

use super::graph::{Graph, Name, Size};
use super::table;
use crate::error::{Error, Result};
use crate::kernels::launch::{Dim, Input};
use crate::model::Model;
use crate::tape::{Node, Param, Source, Tape, ValueId};
use std::collections::HashMap;
use std::ops::{Deref, DerefMut};

/// Why an operation is not translated.
pub type Done<T = ()> = std::result::Result<T, String>;

/// The input with the features of the instances.
pub const FEATURES: &str = "features";
/// The input with the places of the instances, of models that look at them.
pub const COORDS: &str = "coordinates";

/// Pseudo-bags of the one bag: whole numbers and lists of them in the graph.
#[derive(Clone)]
pub struct Parts {
    /// How many there are, `[]`: at most as many as instances.
    pub count: Name,
    /// The first place and the places of each, `[parts]`.
    pub first: Name,
    pub own: Name,
    /// The instance at each place, and the place of each instance, `[N]`.
    pub order: Name,
    pub inverse: Name,
    /// The part of each place, `[N]`.
    pub part: Name,
}

/// The graph so far, and what the values of the tape are called in it.
pub struct Translation<'a> {
    pub graph: Graph,
    model: &'a Model,
    pub tape: &'a Tape,
    values: Vec<Option<Name>>,
    /// Values of which only some columns are known.
    columns: HashMap<ValueId, Vec<Option<Name>>>,
    /// What several operations need of the bag, by name.
    kept: HashMap<&'static str, Name>,
    parts: Option<Parts>,
    features: Name,
    /// Something is held of all pairs of instances.
    pub pairs: bool,
}

impl<'a> Translation<'a> {
    /// An empty graph with the features, standardised where the model does so.
    pub fn new(model: &'a Model, tape: &'a Tape) -> Self {
        let mut graph = Graph::default();
        let shape = [Size::Instances, Size::Fixed(model.spec().width as u32)];
        let standardised = model.standardisation.as_ref();
        let says = match standardised {
            Some(_) => "Features of the instances of one bag, as the encoder gave them: the graph standardises them.",
            None => "Features of the instances of one bag.",
        };
        let mut features = graph.input(FEATURES, &shape, says);
        if let Some(statistics) = standardised {
            graph.enter("standardisation".into());
            let width = [model.spec().width as u32];
            let mean = graph.parameter("standardisation.mean", &width, &statistics.mean);
            let std = graph.parameter("standardisation.std", &width, &statistics.std);
            let centred = graph.op("Sub", &[&features, &mean]);
            features = graph.op("Div", &[&centred, &std]);
        }
        let values = vec![None; tape.values.len()];
        let (columns, kept) = (HashMap::new(), HashMap::new());
        Self { graph, model, tape, values, columns, kept, parts: None, features, pairs: false }
    }

    /// Translates all nodes that `wanted` depend on.
    ///
    /// # Errors
    /// [`Error::Setting`] that names the first operation without a form in ONNX and says why.
    pub fn run(&mut self, wanted: &[ValueId]) -> Result<()> {
        let mut needed = vec![false; self.tape.values.len()];
        wanted.iter().for_each(|v| needed[v.index()] = true);
        let mut nodes = Vec::new();
        for (number, node) in self.tape.nodes.iter().enumerate().rev() {
            if node.outputs.iter().any(|o| needed[o.index()]) {
                node.inputs.iter().for_each(|i| needed[i.index()] = true);
                nodes.push((number, node));
            }
        }
        for (number, node) in nodes.into_iter().rev() {
            let rule = node.op.rule().name();
            let scope = self.scope(number, node);
            self.graph.enter(scope);
            table::translate(&mut At { t: self, node }).map_err(|why| {
                let method = self.model.spec().method.name();
                Error::setting("format", format!("{method} has no form in ONNX: its operation \"{rule}\" {why}"))
            })?;
        }
        Ok(())
    }

    /// What names of a node's operators begin with: the layer whose parameters it reads, else the operation and its number.
    fn scope(&self, number: usize, node: &Node) -> String {
        let param = node.inputs.iter().find_map(|i| match self.tape.values[i.index()].source {
            Source::Param(p) => Some(&self.tape.params[p as usize].name),
            _ => None,
        });
        match param.and_then(|name| name.rsplit_once('.')) {
            Some((layer, _)) => layer.to_owned(),
            None => format!("{}.{number}", node.op.rule().name().replace(' ', "-")),
        }
    }

    /// A value of the tape in the graph.
    pub fn value(&mut self, id: ValueId) -> Done<Name> {
        if let Some(name) = &self.values[id.index()] {
            return Ok(name.clone());
        }
        let value = self.tape.values[id.index()];
        let name = match value.source {
            Source::Param(number) => self.parameter(number as usize),
            Source::Input(Input::Features) => self.features.clone(),
            Source::Input(Input::Coords) => {
                let says = "Places of the instances (x, y), in the unit of the places that the model was trained with.";
                self.graph.input(COORDS, &[Size::Instances, Size::Fixed(2)], says)
            }
            // The class token is the first of the one bag.
            Source::Input(Input::ClassTokens) => {
                let zero = self.graph.whole(&[0]);
                self.graph.reshape(&zero, &[1, 1])
            }
            Source::Input(input) => {
                return Err(format!("reads what a prediction has not ({input:?}): it belongs to training"));
            }
            Source::Node | Source::Kept(_) => {
                return Err("reads a value of which ONNX has only a part, or none".into());
            }
        };
        self.values[id.index()] = Some(name.clone());
        Ok(name)
    }

    /// A parameter under its name, or its parts under theirs.
    fn parameter(&mut self, number: usize) -> Name {
        let Param { name, rows, cols, parts, .. } = &self.tape.params[number];
        let first = self.model.layout().offsets[number];
        let values = &self.model.values[first..first + (rows * cols) as usize];
        if parts.is_empty() {
            return self.graph.parameter(name, &[*rows, *cols], values);
        }
        // Parts are runs of values: of rows, or of the columns of the one row of a bias.
        let (mut at, mut names) = (0, Vec::new());
        let in_columns = *rows == 1 && parts.iter().map(|(_, count)| count).sum::<u32>() == *cols;
        for (part, count) in parts {
            let dims = if in_columns { [1, *count] } else { [*count, *cols] };
            let size = (dims[0] * dims[1]) as usize;
            names.push(self.graph.parameter(part, &dims, &values[at..at + size]));
            at += size;
        }
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        self.graph.concat(&names, i64::from(in_columns))
    }
}

/// A node being translated; it is the graph as well.
pub struct At<'t, 'a> {
    pub t: &'t mut Translation<'a>,
    pub node: &'a Node,
}

impl Deref for At<'_, '_> {
    type Target = Graph;
    fn deref(&self) -> &Graph {
        &self.t.graph
    }
}

impl DerefMut for At<'_, '_> {
    fn deref_mut(&mut self) -> &mut Graph {
        &mut self.t.graph
    }
}

impl At<'_, '_> {
    /// What input `n` is called.
    pub fn x(&mut self, n: usize) -> Done<Name> {
        self.t.value(self.node.inputs[n])
    }

    /// Columns of input `n`.
    pub fn cols(&self, n: usize) -> u32 {
        self.t.tape.cols(self.node.inputs[n])
    }

    /// Rows of input `n`.
    pub fn rows(&self, n: usize) -> Dim {
        self.t.tape.shape(self.node.inputs[n]).rows
    }

    /// Rows of input `n` where they are the same for every bag.
    pub fn fixed_rows(&self, n: usize) -> Done<u32> {
        fixed(self.rows(n)).ok_or_else(|| "has rows whose number depends on the bag where ONNX is given none".into())
    }

    /// Columns of output `n`.
    pub fn out_cols(&self, n: usize) -> u32 {
        self.t.tape.cols(self.node.outputs[n])
    }

    /// Output `n` is this tensor.
    pub fn give(&mut self, n: usize, name: Name) {
        self.t.values[self.node.outputs[n].index()] = Some(name);
    }

    /// Of output `n` these columns are known.
    pub fn give_columns(&mut self, n: usize, columns: Vec<Option<Name>>) {
        self.t.columns.insert(self.node.outputs[n], columns);
    }

    /// Column `column` of input `n`, where it is one of those that are known apart.
    pub fn column(&self, n: usize, column: u32) -> Option<Name> {
        self.t.columns.get(&self.node.inputs[n])?.get(column as usize)?.clone()
    }

    /// True when the tables of this node are those of pseudo-bags, rather than of the bag.
    pub fn over_parts(&self) -> bool {
        let rows = self.node.inputs.last().map(|last| self.t.tape.shape(*last).rows);
        rows == Some(Dim::PseudoBagsPlusOne)
    }

    /// The number of instances, `[1]`.
    pub fn instances(&mut self) -> Name {
        self.keep("instances", |at| {
            let features = at.t.features.clone();
            at.size(&features, 0)
        })
    }

    /// What is made once, whichever operation asks first.
    pub fn keep(&mut self, key: &'static str, make: impl FnOnce(&mut Self) -> Name) -> Name {
        if let Some(name) = self.t.kept.get(key) {
            return name.clone();
        }
        let name = make(self);
        self.t.kept.insert(key, name.clone());
        name
    }

    /// The pseudo-bags of the bag; `make` says how they come about.
    pub fn parts(&mut self, make: impl FnOnce(&mut Self) -> Done<Parts>) -> Done<Parts> {
        if let Some(parts) = &self.t.parts {
            return Ok(parts.clone());
        }
        let parts = make(self)?;
        self.t.parts = Some(parts.clone());
        Ok(parts)
    }
}

/// Rows that every bag has as many of.
pub fn fixed(rows: Dim) -> Option<u32> {
    match rows {
        Dim::Fixed(n) | Dim::BagRows(n) => Some(n),
        Dim::Bags => Some(1),
        _ => None,
    }
}
