//! A graph of ONNX under construction: operators, constants, and names that are all different.

use super::proto::{
    AttributeProto, Dimension, GraphProto, NodeProto, TensorProto, TensorShapeProto, TensorType, TypeProto,
    ValueInfoProto, element, kind,
};
use std::collections::{HashMap, HashSet};

/// The name of a tensor of the graph.
pub type Name = String;

/// A size of an input or output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Size {
    /// Always the same.
    Fixed(u32),
    /// That of the bag.
    Instances,
}

/// A setting of an operator.
pub fn int(name: &str, value: i64) -> AttributeProto {
    AttributeProto { i: Some(value), ..attribute(name, kind::INT) }
}

/// A setting of several numbers.
pub fn ints(name: &str, values: &[i64]) -> AttributeProto {
    AttributeProto { ints: values.to_vec(), ..attribute(name, kind::INTS) }
}

/// A setting of a real number.
pub fn float(name: &str, value: f32) -> AttributeProto {
    AttributeProto { f: Some(value), ..attribute(name, kind::FLOAT) }
}

fn attribute(name: &str, kind: i32) -> AttributeProto {
    AttributeProto { name: Some(name.to_owned()), kind: Some(kind), ..AttributeProto::default() }
}

/// What grows while a tape is translated.
#[derive(Default)]
pub struct Graph {
    nodes: Vec<NodeProto>,
    initializers: Vec<TensorProto>,
    inputs: Vec<ValueInfoProto>,
    outputs: Vec<ValueInfoProto>,
    names: HashSet<String>,
    /// Constants by their shape and bits.
    constants: HashMap<(i32, Vec<i64>, Vec<u8>), Name>,
    /// What names of nodes begin with.
    scope: String,
}

impl Graph {
    /// What names of the next nodes begin with.
    pub fn enter(&mut self, scope: String) {
        self.scope = scope;
    }

    /// `name`, with a number behind it where it is taken.
    fn unique(&mut self, name: &str) -> Name {
        let mut found = name.to_owned();
        let mut number = 1;
        while !self.names.insert(found.clone()) {
            number += 1;
            found = format!("{name}_{number}");
        }
        found
    }

    /// An input.
    pub fn input(&mut self, name: &str, shape: &[Size], says: &str) -> Name {
        let name = self.unique(name);
        self.inputs.push(described(&name, shape, says));
        name
    }

    /// Names a tensor as an output.
    ///
    /// # Errors
    /// For a name that is taken.
    pub fn output(&mut self, name: &str, value: &str, shape: &[Size], says: &str) -> Result<(), String> {
        if !self.names.insert(name.to_owned()) {
            return Err(format!("two of its tensors are called {name:?}"));
        }
        let name = name.to_owned();
        self.nodes.push(NodeProto {
            input: vec![value.to_owned()],
            output: vec![name.clone()],
            name: Some(format!("{name}/Identity")),
            op_type: Some("Identity".into()),
            attribute: Vec::new(),
        });
        self.outputs.push(described(&name, shape, says));
        Ok(())
    }

    /// A parameter of the model under its name.
    pub fn parameter(&mut self, name: &str, dims: &[u32], values: &[f32]) -> Name {
        let name = self.unique(name);
        let dims = dims.iter().map(|&d| i64::from(d)).collect();
        self.initializers.push(tensor(&name, element::FLOAT, dims, bytes(values)));
        name
    }

    fn constant(&mut self, name: &str, data_type: i32, dims: Vec<i64>, raw: Vec<u8>) -> Name {
        let key = (data_type, dims, raw);
        if let Some(name) = self.constants.get(&key) {
            return name.clone();
        }
        let name = self.unique(name);
        self.initializers.push(tensor(&name, data_type, key.1.clone(), key.2.clone()));
        self.constants.insert(key, name.clone());
        name
    }

    /// A number `[]`.
    pub fn number(&mut self, value: f32) -> Name {
        self.constant(&format!("constant/{value}"), element::FLOAT, Vec::new(), bytes(&[value]))
    }

    /// A constant tensor.
    pub fn numbers(&mut self, dims: &[i64], values: &[f32]) -> Name {
        self.constant("constant/numbers", element::FLOAT, dims.to_vec(), bytes(values))
    }

    /// A constant tensor of f64.
    pub fn doubles(&mut self, dims: &[i64], values: &[f64]) -> Name {
        let raw = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        self.constant("constant/doubles", element::DOUBLE, dims.to_vec(), raw)
    }

    /// Whole numbers `[n]`: shapes, axes, places.
    pub fn whole(&mut self, values: &[i64]) -> Name {
        let name: Vec<String> = values.iter().map(i64::to_string).collect();
        let raw = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        self.constant(&format!("constant/[{}]", name.join(",")), element::INT64, vec![values.len() as i64], raw)
    }

    /// A whole number `[]`.
    pub fn whole_number(&mut self, value: i64) -> Name {
        self.constant(&format!("constant/{value}i"), element::INT64, Vec::new(), value.to_le_bytes().to_vec())
    }

    /// An operator with several outputs.
    pub fn several(&mut self, op: &str, inputs: &[&str], attributes: Vec<AttributeProto>, outputs: usize) -> Vec<Name> {
        let name = self.unique(&format!("{}/{op}", self.scope));
        let named = (1..outputs).map(|n| self.unique(&format!("{name}:{n}"))).collect::<Vec<_>>();
        let made: Vec<Name> = std::iter::once(name.clone()).chain(named).collect();
        self.nodes.push(NodeProto {
            input: inputs.iter().map(|&i| i.to_owned()).collect(),
            output: made.clone(),
            name: Some(name),
            op_type: Some(op.to_owned()),
            attribute: attributes,
        });
        made
    }

    /// An operator with settings.
    pub fn with(&mut self, op: &str, inputs: &[&str], attributes: Vec<AttributeProto>) -> Name {
        self.several(op, inputs, attributes, 1).swap_remove(0)
    }

    /// An operator.
    pub fn op(&mut self, op: &str, inputs: &[&str]) -> Name {
        self.with(op, inputs, Vec::new())
    }

    /// The graph without what no output needs.
    pub fn finish(mut self, name: &str, says: String) -> GraphProto {
        let mut wanted: HashSet<String> = self.outputs.iter().filter_map(|o| o.name.clone()).collect();
        let mut kept = Vec::new();
        for node in self.nodes.drain(..).rev() {
            if node.output.iter().any(|o| wanted.contains(o)) {
                wanted.extend(node.input.iter().cloned());
                kept.push(node);
            }
        }
        kept.reverse();
        self.initializers.retain(|t| t.name.as_ref().is_some_and(|name| wanted.contains(name)));
        GraphProto {
            node: kept,
            name: Some(name.to_owned()),
            initializer: self.initializers,
            doc_string: Some(says),
            input: self.inputs,
            output: self.outputs,
        }
    }
}

fn bytes(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|v| v.to_le_bytes()).collect()
}

fn tensor(name: &str, data_type: i32, dims: Vec<i64>, raw: Vec<u8>) -> TensorProto {
    TensorProto { dims, data_type: Some(data_type), name: Some(name.to_owned()), raw_data: Some(raw) }
}

fn described(name: &str, shape: &[Size], says: &str) -> ValueInfoProto {
    let size = |size: &Size| match size {
        Size::Fixed(n) => Dimension { dim_value: Some(i64::from(*n)), dim_param: None },
        Size::Instances => Dimension { dim_value: None, dim_param: Some("instances".into()) },
    };
    let shape = TensorShapeProto { dim: shape.iter().map(size).collect() };
    let tensor_type = Some(TensorType { elem_type: Some(element::FLOAT), shape: Some(shape) });
    ValueInfoProto {
        name: Some(name.to_owned()),
        r#type: Some(TypeProto { tensor_type }),
        doc_string: (!says.is_empty()).then(|| says.to_owned()),
    }
}
