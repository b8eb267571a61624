use super::*;

fn picture<'a>(cells: &'a Cells, values: &'a [f32]) -> Picture<'a> {
    Picture {
        title: "slide",
        subtitle: "",
        notes: &[],
        cells,
        layer: Layer { name: "attention", meaning: "", signed: false, range: Some([0.0, 1.0]), values },
        scale: Scale::Raw,
        max_side: 64,
        unit: None,
        backdrop: None,
    }
}

/// The means of a map, rounded, with its width; `-` for no cell and `?` for no number.
fn drawn(picture: &Picture) -> (usize, Vec<String>) {
    let view = View::new(picture);
    let told = means(picture, &Laid::new(&picture.layer, picture.scale), &view).into_iter().map(|mean| match mean {
        None => "-".to_owned(),
        Some(mean) if mean.is_nan() => "?".into(),
        Some(mean) => short(mean),
    });
    (view.size[0], told.collect())
}

/// Pixels of a PNG of ours, with its width.
fn decoded(file: &[u8]) -> (usize, Vec<u8>) {
    let mut reader = png::Decoder::new(std::io::Cursor::new(file)).read_info().unwrap();
    let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
    let info = reader.next_frame(&mut pixels).unwrap();
    (info.width as usize, pixels)
}

#[test]
fn cells_stand_where_they_are_and_are_averaged_where_they_overlap() {
    // Three cells of side 2 in a row, each over half of the one before, at a pixel a unit.
    let cells = Cells::new(&[[-1.0, 0.0], [0.0, 0.0], [1.0, 0.0]], Some(2.0)).unwrap();
    let values = [0.0, 1.0, 0.5];
    let mut map = picture(&cells, &values);
    map.max_side = 4;
    assert_eq!(drawn(&map), (4, ["0", "0.5", "0.75", "0.5"].repeat(2).iter().map(ToString::to_string).collect()));
    // What is no number does not count, and alone is told apart.
    let values = [0.0, f32::NAN, f32::INFINITY];
    let map = Picture { layer: Layer { values: &values, ..map.layer.clone() }, ..map };
    assert_eq!(drawn(&map).1[..4], ["0", "0", "?", "?"]);
    // Holes are holes.
    let cells = Cells::new(&[[0.0, 0.0], [4.0, 2.0]], Some(2.0)).unwrap();
    let mut map = picture(&cells, &[0.25, 1.0]);
    map.max_side = 3;
    assert_eq!(drawn(&map), (3, ["0.25", "-", "-", "-", "-", "1"].map(String::from).to_vec()));
}

#[test]
fn no_cell_is_lost_however_far_apart_they_are() {
    let places = [[0.0, 0.0], [1e9, 1e3], [-1e9, 5.0]];
    let cells = Cells::new(&places, Some(1.0)).unwrap();
    let values = [0.1, 0.5, 1.0];
    let map = picture(&cells, &values);
    let (width, means) = drawn(&map);
    assert_eq!((width, means.len(), means.iter().filter(|m| *m != "-").count()), (64, 64, 3));
    assert!(map.png().is_ok());
}

#[test]
fn one_cell_is_a_square_of_some_size() {
    let cells = Cells::new(&[[5e6, -7.0]], None).unwrap();
    let values = [0.3];
    let (width, means) = drawn(&picture(&cells, &values));
    assert_eq!((width, means.len()), (64, 64 * 64));
    assert!(means.iter().all(|mean| mean == "0.3"));
}

#[test]
fn colours_of_the_file_are_those_of_the_scale() {
    let cells = Cells::new(&[[0.0, 0.0], [64.0, 0.0]], Some(64.0)).unwrap();
    let mut map = picture(&cells, &[0.0, 1.0]);
    map.max_side = 128;
    let (width, pixels) = decoded(&map.png().unwrap());
    let counted = |colour: [u8; 3]| pixels.chunks_exact(3).filter(|p| *p == colour).count();
    let colours = Colours::new(false);
    // A cell, and a little of the bar beside it.
    for end in [0.0, 1.0] {
        assert!((64 * 64..64 * 64 + 200).contains(&counted(colours.at(end))), "{end} in {width}");
    }
    // Half of what lies below is seen through the map.
    let below = vec![0u8; 3 * 4];
    let backdrop = Backdrop { width: 2, height: 2, pixels: below, slide: [128.0, 128.0], opacity: 0.5 };
    let map = Picture { backdrop: Some(&backdrop), ..map };
    let (_, pixels) = decoded(&map.png().unwrap());
    let half = colours.at(1.0).map(|c| (f64::from(c) / 2.0).round() as u8);
    assert_eq!(pixels.chunks_exact(3).filter(|p| *p == half).count(), 64 * 64);
    assert_eq!(pixels.chunks_exact(3).filter(|p| *p == [0, 0, 0]).count(), 64 * 128);
}

#[test]
fn what_does_not_fit_is_refused() {
    let cells = Cells::new(&[[0.0, 0.0]], Some(1.0)).unwrap();
    let refused = |map: Picture| map.png().unwrap_err().to_string();
    assert!(refused(picture(&cells, &[])).contains("one for each cell"));
    for max_side in [0, 15, 5000] {
        assert!(refused(Picture { max_side, ..picture(&cells, &[1.0]) }).contains("16 to 4096"));
    }
    let backdrop = Backdrop { width: 2, height: 2, pixels: vec![0; 12], slide: [1.0, 1.0], opacity: 1.5 };
    let with = |backdrop: &Backdrop| refused(Picture { backdrop: Some(backdrop), ..picture(&cells, &[1.0]) });
    assert!(with(&backdrop).contains("opacity"));
    assert!(with(&Backdrop { opacity: 1.0, pixels: vec![0; 11], ..backdrop.clone() }).contains("2 x 2 pixels"));
    assert!(with(&Backdrop { opacity: 1.0, slide: [0.0, 1.0], ..backdrop }).contains("slide-size"));
}
