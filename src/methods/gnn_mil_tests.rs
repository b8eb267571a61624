//! GNN-MIL: what it refuses, what its outputs mean, and graphs of a batch against each other.

use super::*;
use crate::bag::{Bags, Features};
use crate::device::Device;
use crate::methods::Method;
use crate::model::{Model, Spec};
use crate::session::{Gradients, Session};
use crate::tape::Storage;
use serde_json::json;

fn bags() -> Bags {
    let values = (0..30).map(|i| ((i * 37 % 19) as f32 - 9.0) / 4.0).collect();
    Bags::packed(Features::F32(values), 3, &[7, 1, 2]).unwrap().with_labels(vec![0, 1, 1]).unwrap()
}

fn model(settings: GnnMil) -> Model {
    Model::new(Spec::new(settings.into(), 3, 2), 4).unwrap()
}

fn found(settings: GnnMil) -> Gradients {
    let mut session = Session::new(&Device::oracle(), model(settings), Storage::F32).unwrap();
    session.gradients(&bags(), None).unwrap()
}

#[test]
fn what_does_not_fit_is_refused() {
    let refused = |settings: GnnMil| Model::new(Spec::new(settings.into(), 3, 2), 1).unwrap_err().to_string();
    assert!(refused(GnnMil { clusters: 0, ..GnnMil::default() }).contains("1 to 64, found 0"));
    assert!(refused(GnnMil { clusters: 65, ..GnnMil::default() }).contains("found 65"));
    assert!(refused(GnnMil { link: -1.0, ..GnnMil::default() }).contains("at least 0"));
    assert!(refused(GnnMil { supervision: [1.0, -1.0], ..GnnMil::default() }).contains("supervision"));
    assert!(refused(GnnMil { attention: 0, ..GnnMil::default() }).contains("above 0"));
}

#[test]
fn eta_is_a_distance_or_infinite() {
    let set = |eta: Value| {
        let settings = json!({ "eta": eta });
        Method::named("gnn-mil").unwrap().with(settings.as_object().unwrap())
    };
    for eta in [json!("infinite"), json!(0), json!(0.1), json!(12)] {
        let settings = set(eta.clone()).unwrap().settings();
        let again = &settings["eta"];
        assert!(again == &eta || again.as_f64() == eta.as_f64(), "{eta} became {again}");
    }
    for eta in [json!(-1.0), json!("far"), json!(null)] {
        let message = set(eta).unwrap_err().to_string();
        assert!(message.contains("at least 0, or \"infinite\""), "{message}");
    }
}

/// A distance that no two instances exceed is a complete graph, and one below all of them a graph whose nodes stand alone.
#[test]
fn distances_beyond_all_are_a_complete_graph() {
    let near = |eta: Eta, link: f32| {
        let settings = GnnMil { eta, clusters: 3, link, hidden: 4, ..GnnMil::default() };
        found(GnnMil { supervision: [0.5, 0.25], ..settings })
    };
    let (all, far) = (near(Eta::Infinite, 0.5), near(Eta::Within(1e6), 0.5));
    assert!((all.loss - far.loss).abs() < 1e-12, "{} {}", all.loss, far.loss);
    for (name, gradient) in &all.parameters {
        for (a, b) in gradient.values.iter().zip(&far.parameters[name].values) {
            assert!((a - b).abs() < 1e-10, "{name}: {a} {b}");
        }
    }
    // A tiny eta has the nodes themselves for neighbours, which eta 0 has not: the link loss alone tells them apart.
    let (none, tiny) = (near(Eta::Within(0.0), 0.0), near(Eta::Within(1e-3), 0.0));
    let of_nodes = |found: &Gradients| found.outputs["scores"].values.clone();
    assert_eq!(of_nodes(&none), of_nodes(&tiny));
    assert!(near(Eta::Within(0.0), 0.5).loss != near(Eta::Within(1e-3), 0.5).loss);
}

/// With a single cluster assignments are 1, and in a complete graph all instances of a bag are assigned alike.
#[test]
fn complete_graphs_and_single_clusters_do_not_tell_instances_apart() {
    let one = found(GnnMil { eta: Eta::Within(1.0), ..GnnMil::default() });
    assert!(one.outputs["scores"].values.iter().all(|s| *s == 1.0));
    assert!(one.parameters["assign.weight"].values.iter().all(|g| *g == 0.0));
    let two = |eta: Eta| found(GnnMil { clusters: 2, eta, ..GnnMil::default() }).outputs["scores"].values.clone();
    let all = two(Eta::Infinite);
    assert!(all[..7].iter().all(|s| (s - all[0]).abs() < 1e-12) && (all[0] - all[7]).abs() > 1e-9);
    let near = two(Eta::Within(2.0));
    assert!(near[..7].iter().any(|s| (s - near[0]).abs() > 1e-6), "{near:?}");
    // Over the nodes, shares of a bag sum to 1.
    let shares = found(GnnMil { over: Over::Nodes, eta: Eta::Within(2.0), ..GnnMil::default() });
    let sum: f64 = shares.outputs["scores"].values[..7].iter().sum();
    assert!((sum - 1.0).abs() < 1e-12);
}
