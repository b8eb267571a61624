//! Values too large for one binding, in blocks of columns.
//!
//! A method that needs all instances of a bag at once cannot run in windows of rows (see [`super::windows`]). Its
//! values can be narrow, though: [`split`] records the same computation on blocks of columns, each in a buffer of its
//! own. What looks along columns (attention head by head, convolutions, pools) runs block by block as it is; layers
//! are sums over blocks; a layer norm is spelt out. Parameters, results and random numbers are those of the tape that
//! was split, so that nothing but rounding differs. How an operation does it is its own affair ([`crate::ops::Rule::split`]). Instance features stay one buffer, of which layers bind windows
//! of rows (see [`crate::ops::matmul`]).

use crate::error::{Error, Result};
use crate::ops::columns::{Blocks, Splitter};
use crate::tape::{Node, Source, Tape, ValueId};

/// Records `tape` with at most `most` columns in every value that has a row for each instance or token.
///
/// # Errors
/// [`Error::Setting`] that names the operation whose columns cannot be parted.
pub fn split(tape: &Tape, most: u32) -> Result<Tape> {
    // The values of the old tape keep their numbers.
    let mut to = tape.clone();
    to.nodes.clear();
    let mut blocks = Blocks::new(tape.values.len(), most);
    for node in &tape.nodes {
        let rule = node.op.rule();
        let mut splitter = Splitter::new(&mut to, &mut blocks, rule.name());
        if node.inputs.iter().chain(&node.outputs).any(|v| splitter.wide(*v)) {
            rule.split(&mut splitter, node.io())?;
        } else {
            let inputs = node.inputs.iter().map(|v| blocks.name(*v)).collect();
            to.nodes.push(Node { op: node.op.clone(), inputs, outputs: node.outputs.clone() });
        }
    }
    finish(to, &blocks)
}

fn finish(mut to: Tape, blocks: &Blocks) -> Result<Tape> {
    let refused = |what: &str| Error::setting("method", format!("{what} is not there in blocks of columns"));
    let mut made: Vec<bool> = to.values.iter().map(|v| v.source != Source::Node).collect();
    for node in &to.nodes {
        // Outputs that serve a rule's own backward pass have no blocks.
        if node.inputs.iter().any(|v| !made[v.index()]) {
            return Err(refused(node.op.rule().name()));
        }
        node.outputs.iter().for_each(|v| made[v.index()] = true);
    }
    let named = |v: ValueId| Some(blocks.name(v)).filter(|v| made[v.index()]).ok_or_else(|| refused("an output"));
    for value in to.outputs.iter_mut().map(|o| &mut o.value) {
        *value = named(*value)?;
    }
    to.loss = to.loss.map(named).transpose()?;
    for objective in &mut to.objectives {
        objective.value = named(objective.value)?;
    }
    for value in to.passes.looks.iter_mut().flat_map(|look| &mut look.values) {
        *value = named(*value)?;
    }
    Ok(to)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::launch::{Dim, Input};
    use crate::ops::critical_attention::CriticalRows;
    use crate::ops::matmul::Linear;
    use crate::ops::pointwise::Activation;
    use crate::ops::segment::{Pool, SegmentReduce, Tables};
    use crate::tape::{Init, Param, Storage};

    /// A layer of 12 columns, its largest rows, and what `of` makes of both.
    fn tape(of: impl Fn(&mut Tape, ValueId, &[ValueId])) -> Tape {
        let mut tape = Tape::new();
        let x = tape.features(3, Storage::F32, false);
        let tables = Tables::on(&mut tape);
        let weight =
            Param { name: "w".into(), rows: 12, cols: 3, init: Init::Normal(1.0), decays: true, parts: vec![] };
        let weight = tape.param(weight);
        let y = tape.push1(Linear { activation: Activation::Relu }, &[x, weight]).unwrap();
        let pool = SegmentReduce(Pool::Max);
        let pooled = tape.push(pool, &[&[y], &tables[..]].concat()).unwrap();
        of(&mut tape, y, &pooled);
        tape
    }

    #[test]
    fn every_value_has_few_columns_and_parameters_stay() {
        let whole = tape(|tape, _, pooled| tape.output("z", pooled[0]));
        let parts = split(&whole, 5).unwrap();
        let made = parts.nodes.iter().flat_map(|n| &n.outputs);
        let rows = made.filter(|v| parts.shape(**v).rows == Dim::Instances);
        assert_eq!(rows.map(|v| parts.cols(*v)).collect::<Vec<_>>(), [5, 5, 2]);
        assert_eq!(parts.cols(parts.output_named("z").unwrap()), 12);
        assert_eq!(parts.param_layout().total, whole.param_layout().total);
    }

    #[test]
    fn what_has_no_blocks_is_refused() {
        let message = |tape: Tape| split(&tape, 5).unwrap_err().to_string();
        let wide = message(tape(|tape, y, _| tape.output("y", y)));
        assert!(wide.contains("an output is not there in blocks"), "{wide}");
        let used = message(tape(|tape, _, pooled| {
            let narrow = tape.batch(Input::Coords, 2);
            let rows = tape.push1(CriticalRows, &[narrow, pooled[1]]).unwrap();
            tape.output("rows", rows);
        }));
        assert!(used.contains("critical rows"), "{used}");
    }
}
