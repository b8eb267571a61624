use super::*;
use crate::heatmap::{Cells, regions};
use serde_json::Value;

/// Reads a collection as a strict reader would: RFC 7946, and what QuPath takes.
fn strictly(text: &[u8]) -> Vec<Value> {
    let file: Value = serde_json::from_slice(text).unwrap();
    assert_eq!(file["type"], "FeatureCollection");
    let features = file["features"].as_array().unwrap();
    for feature in features {
        assert_eq!((&feature["type"], &feature["geometry"]["type"]), (&"Feature".into(), &"Polygon".into()));
        let rings = feature["geometry"]["coordinates"].as_array().unwrap();
        assert!(!rings.is_empty());
        for (at, ring) in rings.iter().enumerate() {
            let points: Vec<[f64; 2]> = ring
                .as_array()
                .unwrap()
                .iter()
                .map(|p| {
                    assert_eq!(p.as_array().unwrap().len(), 2);
                    [p[0].as_f64().unwrap(), p[1].as_f64().unwrap()]
                })
                .collect();
            assert!(points.len() >= 4 && points[0] == points[points.len() - 1], "closed: {points:?}");
            let twice: f64 = points.windows(2).map(|w| w[0][0] * w[1][1] - w[1][0] * w[0][1]).sum();
            assert!(if at == 0 { twice > 0.0 } else { twice < 0.0 }, "winding of ring {at}: {twice}");
        }
        let properties = feature["properties"].as_object().unwrap();
        assert!(["tile", "annotation"].contains(&properties["objectType"].as_str().unwrap()));
        assert!(properties["measurements"].as_object().unwrap().values().all(Value::is_number));
        let colour = |value: &Value| {
            let channels = value.as_array().unwrap();
            channels.len() == 3 && channels.iter().all(|c| c.as_u64().is_some_and(|c| c < 256))
        };
        assert!(properties.get("color").is_none_or(colour));
        if let Some(class) = properties.get("classification") {
            assert!(class["name"].is_string() && colour(&class["color"]));
        }
        let known = ["objectType", "name", "color", "classification", "measurements"];
        assert!(properties.keys().all(|key| known.contains(&&key[..])));
    }
    features.clone()
}

#[test]
fn cells_and_regions_are_features() {
    let places = [
        [0.0, 0.0],
        [256.0, 0.0],
        [512.0, 0.0],
        [0.0, 256.0],
        [512.0, 256.0],
        [0.0, 512.0],
        [256.0, 512.0],
        [512.0, 512.0],
    ];
    let cells = Cells::new(&places, Some(256.0)).unwrap().in_unit_of(0.3);
    let measurements = [("attention", f64::from(0.125f32)), ("score \"1\"", f64::NAN), ("percentile", 50.0)];
    let said =
        Said { object: Object::Tile, name: None, class: None, colour: Some([1, 2, 255]), measurements: &measurements };
    let mut out = Vec::new();
    let mut all = Collection::new(&mut out).unwrap();
    for corner in cells.corners() {
        all.square(*corner, cells.side(), &said).unwrap();
    }
    for region in regions(&cells, &(0..8).collect::<Vec<_>>()) {
        let class = Some(("high \"attention\"\n", [200, 0, 0]));
        let said = Said { object: Object::Annotation, name: Some("region 1"), class, colour: None, ..said.clone() };
        all.region(&region, &said).unwrap();
    }
    all.end().unwrap();
    let features = strictly(&out);
    assert_eq!(features.len(), 9);
    let first = &features[1]["properties"];
    assert_eq!(
        (&first["measurements"]["attention"], first["measurements"].as_object().unwrap().len()),
        (&0.125.into(), 2)
    );
    assert_eq!(features[1]["geometry"]["coordinates"][0][0], serde_json::json!([853.333, 0]));
    let region = &features[8];
    assert_eq!(region["geometry"]["coordinates"].as_array().unwrap().len(), 2);
    assert_eq!(region["properties"]["classification"]["name"], "high \"attention\"\n");
}

#[test]
fn a_collection_may_be_empty() {
    let mut out = Vec::new();
    Collection::new(&mut out).unwrap().end().unwrap();
    assert!(strictly(&out).is_empty());
}
