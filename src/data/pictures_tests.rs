//! Folders of pictures, right and wrong.

use super::*;

/// A picture whose pixel (y, x) is (10 y + x, seed, 7).
fn picture(path: &Path, height: u32, width: u32, seed: u8) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    let pixel = |x: u32, y: u32| image::Rgb([(10 * y + x) as u8, seed, 7]);
    image::RgbImage::from_fn(width, height, pixel).save(path).unwrap();
}

fn opened(folder: &Path) -> Result<Patches> {
    Patches::open(folder, &Reading::default())
}

fn refused(folder: &Path, what: &str) {
    let message = opened(folder).unwrap_err().to_string();
    assert!(message.contains(what), "{message}\nlacks: {what}");
}

#[test]
fn folders_are_bags_in_the_order_of_their_numbers() {
    let dir = tempfile::tempdir().unwrap();
    let names = ["s10/0_8.png", "s2/0_0.png", "s2/0_16.png", "s2/0_8.png", "s2/notes.txt", "s2/.hidden.png"];
    for (i, name) in names.iter().enumerate() {
        match name.ends_with("txt") || name.contains("hidden") {
            true => std::fs::write(dir.path().join(name), "x").unwrap(),
            false => picture(&dir.path().join(name), 3, 4, i as u8),
        }
    }
    let patches = opened(dir.path()).unwrap();
    let bags = &patches.bags().bags;
    assert_eq!((bags.names.clone(), &bags.offsets[..]), (vec!["s2".to_string(), "s10".into()], &[0, 3, 4][..]));
    assert_eq!((patches.image(), patches.len(), bags.labels.is_none()), ([3, 4, 3], 4, true));
    assert_eq!(bags.coords, Some(vec![[0.0, 0.0], [0.0, 8.0], [0.0, 16.0], [0.0, 8.0]]));
    let seeds: Vec<u8> = (0..4).map(|i| patches.pixels(i).unwrap()[1]).collect();
    assert_eq!(seeds, [1, 3, 2, 0]);
    assert_eq!(patches.pixels(0).unwrap()[..9], [0, 1, 7, 1, 1, 7, 2, 1, 7]);
    let set = patches.dataset().unwrap();
    assert_eq!((set.bags.width, set.bags.image), (36, Some([3, 4, 3])));
    assert_eq!(set.bags.features.get(3), 1.0 / 255.0);
}

#[test]
fn outer_folders_are_classes_and_jpeg_is_read() {
    let dir = tempfile::tempdir().unwrap();
    for name in ["tumour/a/tile_x_5_y_6.jpg", "normal/b/tile_x_7_y_8.jpeg", "normal/c/9_10.JPG"] {
        picture(&dir.path().join(name), 8, 8, 100);
    }
    let patches = Patches::open(dir.path(), &Reading { places: Places::RowColumn, ..Reading::default() }).unwrap();
    let bags = &patches.bags().bags;
    assert_eq!(bags.names, ["b", "c", "a"]);
    assert_eq!(
        (bags.labels.as_deref(), &bags.class_names[..]),
        (Some(&[0, 0, 1][..]), &["normal", "tumour"].map(String::from)[..])
    );
    assert_eq!(bags.coords, Some(vec![[8.0, 7.0], [10.0, 9.0], [6.0, 5.0]]));
    assert!(patches.pixels(0).unwrap()[1].abs_diff(100) < 20);
    let none = Patches::open(dir.path(), &Reading { places: Places::None, ..Reading::default() }).unwrap();
    assert_eq!(none.bags().bags.coords, None);
}

#[test]
fn one_folder_is_one_bag_and_places_are_all_or_none() {
    let dir = tempfile::tempdir().unwrap();
    picture(&dir.path().join("1_2.png"), 2, 2, 0);
    picture(&dir.path().join("b.png"), 2, 2, 1);
    let patches = opened(dir.path()).unwrap();
    assert_eq!((patches.bags().bags.len(), patches.len()), (1, 2));
    assert_eq!(patches.bags().bags.coords, None);
}

#[test]
fn pictures_are_brought_to_a_size() {
    let dir = tempfile::tempdir().unwrap();
    picture(&dir.path().join("a/1_1.png"), 4, 4, 50);
    picture(&dir.path().join("a/2_1.png"), 6, 4, 60);
    refused(dir.path(), "2_1.png: expected 4 x 4 pixels as the first picture has, found 6 x 4");
    let patches = Patches::open(dir.path(), &Reading { size: Some(2), ..Reading::default() }).unwrap();
    assert_eq!(patches.image(), [2, 2, 3]);
    // Columns 0 to 2 and 1 to 3 in shares of 3, 3 and 1, and lines so too.
    let (near, far) = ((3.0 + 2.0) / 7.0, (1.0 + 6.0 + 9.0) / 7.0);
    let expected = [11.0 * near, 10.0 * near + far].map(|v: f32| v.round() as u8);
    let found = patches.pixels(0).unwrap();
    assert_eq!([found[0], found[3]], expected);
    assert_eq!([found[1], found[2]], [50, 7]);
    assert!(Patches::open(dir.path(), &Reading { size: Some(0), ..Reading::default() }).is_err());
}

#[test]
fn labels_of_patches_come_from_a_file() {
    let dir = tempfile::tempdir().unwrap();
    picture(&dir.path().join("a/1_1.png"), 2, 2, 0);
    picture(&dir.path().join("b/1_1.png"), 2, 2, 0);
    let labels = |text: &str| std::fs::write(dir.path().join("patch_labels.csv"), text).unwrap();
    labels("# all\nb/1_1.png,7\n\na/1_1.png, -1\n");
    assert_eq!(opened(dir.path()).unwrap().bags().bags.instance_labels, Some(vec![-1, 7]));
    labels("b/1_1.png,7\n");
    refused(dir.path(), "patch_labels.csv: expected a label of a/1_1.png, found none");
    labels("b/1_1.png;7\n");
    refused(dir.path(), "line 1: expected PICTURE,LABEL");
    labels("b/1_1.png,x\n");
    refused(dir.path(), "line 1: expected a whole number, found 'x'");
    labels("b/1_1.png,1\nb/1_1.png,1\n");
    refused(dir.path(), "line 2: 'b/1_1.png' has a label already");
    labels("a/1_1.png,1\nb/1_1.png,1\nc/1_1.png,1\n");
    refused(dir.path(), "c/1_1.png");
}

#[test]
fn wrong_folders_are_explained() {
    let dir = tempfile::tempdir().unwrap();
    refused(dir.path(), "expected features.npy, pixels.npy, or PNG or JPEG files");
    std::fs::write(dir.path().join("1_1.png"), "no picture").unwrap();
    refused(dir.path(), "1_1.png: expected a picture");
    picture(&dir.path().join("1_1.png"), 20, 20, 0);
    let whole = std::fs::read(dir.path().join("1_1.png")).unwrap();
    std::fs::write(dir.path().join("1_1.png"), &whole[..whole.len() / 2]).unwrap();
    refused(dir.path(), "1_1.png");
    picture(&dir.path().join("1_1.png"), 2, 2, 0);
    picture(&dir.path().join("c/s/1_1.png"), 2, 2, 0);
    refused(dir.path(), "one deeper than others");
    picture(&dir.path().join("c/s/d/1_1.png"), 2, 2, 0);
    refused(dir.path(), "found a folder below these");
    std::fs::write(dir.path().join("features.npy"), "").unwrap();
    refused(dir.path(), "found features.npy");
    assert!(matches!(Patches::open("/nowhere/at-all", &Reading::default()), Err(Error::Io { .. })));
    let message = Patches::open("digits-bags", &Reading::default()).unwrap_err().to_string();
    assert!(message.contains("or textures"), "{message}");
}

/// A header may promise what no memory holds: refused before a pixel is decoded, with and without a size to bring
/// pictures to.
#[test]
fn pictures_that_promise_too_much_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let png = dir.path().join("1_1.png");
    picture(&png, 20, 20, 0);
    let mut bytes = std::fs::read(&png).unwrap();
    bytes[16..20].copy_from_slice(&60_000u32.to_be_bytes());
    bytes[20..24].copy_from_slice(&50_000u32.to_be_bytes());
    let mut crc = flate2::Crc::new();
    crc.update(&bytes[12..29]);
    bytes[29..33].copy_from_slice(&crc.sum().to_be_bytes());
    let said = "expected a picture of at most 134217728 pixels, found 50000 x 60000, which is 3000000000";
    std::fs::write(&png, &bytes).unwrap();
    refused(dir.path(), said);
    let sized = Patches::open(dir.path(), &Reading { size: Some(8), ..Reading::default() })
        .and_then(|p| Ok(p.pixels(0)?.len()));
    assert!(sized.unwrap_err().to_string().contains(said));
    std::fs::remove_file(&png).unwrap();
    let jpeg = dir.path().join("1_1.jpg");
    picture(&jpeg, 16, 16, 0);
    let mut bytes = std::fs::read(&jpeg).unwrap();
    let frame = bytes.windows(2).position(|w| matches!(w, [0xff, 0xc0..=0xc2])).unwrap();
    bytes[frame + 5..frame + 9].copy_from_slice(&[0xff, 0xff, 0xff, 0xfe]);
    std::fs::write(&jpeg, &bytes).unwrap();
    refused(dir.path(), "at most 134217728 pixels, found 65535 x 65534");
    for size in [0, 16_385, 1 << 32, usize::MAX] {
        let error = Patches::open(dir.path(), &Reading { size: Some(size), ..Reading::default() }).unwrap_err();
        assert!(error.to_string().contains(&format!("expected 1 to 16384 pixels, found {size}")), "{error}");
    }
}
