//! Where a data set comes from, read from what a user writes.

use super::{
    Assumption, ClassBags, Collage, Dataset, Haystack, Opening, Protocol, Textures, idx, npy, packed, slides, text,
};
use crate::error::{Error, Result};
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// Where a data set comes from.
#[derive(Clone, Debug, PartialEq)]
pub enum Source {
    /// A folder of npy files; see [`super::npy`].
    Npy(PathBuf),
    /// A folder with a file of features for each slide, one such file, or a table of their paths; see [`super::slides`].
    Slides(PathBuf),
    /// A file with the features of many slides; see [`super::packed`].
    Packed(PathBuf),
    /// A text file, one instance a line; see [`super::text`].
    Text(PathBuf),
    /// Bags drawn from the shipped digits; see [`super::mil_bags`].
    DigitsBags(Protocol),
    /// Bags drawn from the MNIST files in a folder.
    MnistBags {
        /// The folder of the four IDX files.
        folder: PathBuf,
        /// How the bags are drawn.
        protocol: Protocol,
    },
    /// Bags of several classes drawn from the shipped digits; see [`super::class_bags`].
    DigitsClasses(ClassBags),
    /// Bags of several classes drawn from the MNIST files in a folder.
    MnistClasses {
        /// The folder of the four IDX files.
        folder: PathBuf,
        /// How the bags are drawn.
        classes: ClassBags,
    },
    /// The shipped digits on a plane; see [`super::collage`].
    DigitsCollage(Collage),
    /// The digits of the MNIST files in a folder on a plane.
    MnistCollage {
        /// The folder of the four IDX files.
        folder: PathBuf,
        /// How the bags are drawn.
        collage: Collage,
    },
    /// Long bags of the shipped digits with few key instances; see [`super::haystack`].
    DigitsHaystack(Haystack),
    /// Long bags drawn from the MNIST files in a folder.
    MnistHaystack {
        /// The folder of the four IDX files.
        folder: PathBuf,
        /// How the bags are drawn.
        haystack: Haystack,
    },
    /// Bags of procedural textures; see [`super::textures`].
    Textures(Textures),
    /// Bags that tell whether a model keeps to the MIL assumption; see [`super::assumption`].
    Assumption(Assumption),
}

const GENERATORS: &str = "digits-bags, mnist-bags:FOLDER, digits-classes, mnist-classes:FOLDER, digits-collage, \
                          mnist-collage:FOLDER, digits-haystack, mnist-haystack:FOLDER, textures and mil-assumption";

/// Generators that need no files, and those that draw from a folder.
const DRAWN: [&str; 6] =
    ["digits-bags", "digits-classes", "digits-collage", "digits-haystack", "textures", "mil-assumption"];
const DRAWN_FROM: [&str; 4] = ["mnist-bags", "mnist-classes", "mnist-collage", "mnist-haystack"];

impl Source {
    /// Reads a source: a folder, a file, or a generator with its settings.
    ///
    /// The generators are `digits-bags`, `mnist-bags:FOLDER`, `digits-classes`, `mnist-classes:FOLDER`,
    /// `digits-collage`, `mnist-collage:FOLDER`, `digits-haystack`, `mnist-haystack:FOLDER`, `textures` and
    /// `mil-assumption`. Settings
    /// follow after commas: `digits-bags,target=3,mean=20,spread=4,train=50,test=100,balanced=false,seed=7`,
    /// `digits-classes,classes=3:5:9`, `digits-collage,pair=0:1,inverse=true`,
    /// `digits-haystack,size=500:5000,share=0.01:0.05`, `textures,key=3,rate=0.2`, `mil-assumption,kind=pair`; what is
    /// left out is as in
    /// [`Protocol::digits`], [`Protocol::mnist`], [`ClassBags::default`], [`Collage::default`], [`Haystack::default`],
    /// [`Textures::default`] and [`Assumption::default`]. A file or folder of the same name is written `./digits-bags`.
    ///
    /// # Errors
    /// [`Error::Setting`] when a setting is unknown or not a number, [`Error::Format`] when a folder or file
    /// is of no known layout, [`Error::Io`] when there is none.
    pub fn parse(source: impl AsRef<Path>) -> Result<Self> {
        let path = source.as_ref();
        if let Some(text) = path.to_str() {
            let (head, settings) = text.split_once(',').map_or((text, None), |(h, s)| (h, Some(s)));
            if head == "digits-bags" {
                return Ok(Self::DigitsBags(protocol(Protocol::digits(), settings)?));
            }
            if head == "digits-collage" {
                return Ok(Self::DigitsCollage(collage(settings)?));
            }
            if head == "digits-haystack" {
                return Ok(Self::DigitsHaystack(haystack(settings)?));
            }
            if head == "mil-assumption" {
                return Ok(Self::Assumption(assumption(settings)?));
            }
            if head == "textures" {
                return Ok(Self::Textures(textures(settings)?));
            }
            if head == "digits-classes" {
                return Ok(Self::DigitsClasses(class_bags(settings)?));
            }
            if let Some(folder) = mnist_folder(head, "mnist-classes")? {
                return Ok(Self::MnistClasses { folder, classes: class_bags(settings)? });
            }
            if let Some(folder) = mnist_folder(head, "mnist-bags")? {
                return Ok(Self::MnistBags { folder, protocol: protocol(Protocol::mnist(), settings)? });
            }
            if let Some(folder) = mnist_folder(head, "mnist-collage")? {
                return Ok(Self::MnistCollage { folder, collage: collage(settings)? });
            }
            if let Some(folder) = mnist_folder(head, "mnist-haystack")? {
                return Ok(Self::MnistHaystack { folder, haystack: haystack(settings)? });
            }
        }
        if path.is_dir() {
            return folder(path);
        }
        if !path.exists() {
            let message = format!("there is no such file or folder; the generators are {GENERATORS}");
            return Err(Error::io(path, std::io::Error::new(std::io::ErrorKind::NotFound, message)));
        }
        if packed::is_packed(path) {
            return Ok(Self::Packed(path.into()));
        }
        if slides::is_slides(path) {
            return Ok(Self::Slides(path.into()));
        }
        if path.extension().is_some_and(|e| e.eq_ignore_ascii_case("npy")) {
            return Err(Error::format(path, "expected a text file or a folder; give the folder of the npy files"));
        }
        if let Some(message) = slides::without_features(path) {
            return Err(Error::format(path, message));
        }
        Ok(Self::Text(path.into()))
    }

    /// `source` with its path, where it has one, made absolute: a relative one counts from `folder`. What has no path
    /// stays as it is.
    pub fn seen_from(source: &str, folder: &Path) -> String {
        let absolute = |path: &str| {
            let path = folder.join(path);
            std::path::absolute(&path).unwrap_or(path).display().to_string()
        };
        let (head, settings) = source.split_once(',').map_or((source, ""), |(h, _)| (h, &source[h.len()..]));
        if DRAWN.contains(&head) {
            return source.into();
        }
        match head.split_once(':').filter(|(name, _)| DRAWN_FROM.contains(name)) {
            Some((name, path)) => format!("{name}:{}{settings}", absolute(path)),
            None => absolute(source),
        }
    }

    /// As [`Source::open`], with the features left in their file where that is possible: in a folder of npy files. Those of a
    /// packed file always are.
    ///
    /// # Errors
    /// As [`Source::open`].
    pub fn open_mapped(&self) -> Result<Dataset> {
        match self {
            Self::Npy(folder) => npy::open_mapped(folder),
            other => other.open(),
        }
    }

    /// As [`Source::open`], with what `opening` says of it.
    ///
    /// # Errors
    /// As [`Source::open`], [`text::open_naming`] and [`slides::open`], and [`Error::Setting`] when something is asked for
    /// that a source of this kind does not know.
    pub fn open_with(&self, opening: &Opening) -> Result<Dataset> {
        if let Self::Packed(path) = self {
            return packed::open(path, opening);
        }
        if let Self::Slides(path) = self {
            return slides::open(path, opening);
        }
        if opening.files().next().is_some() {
            return Err(Error::setting(
                "labels",
                "and splits are given as tables, which go with a folder that has a file for each slide; a folder of npy \
                 files has labels.npy and split.npy, and a text file a column of labels",
            ));
        }
        match self {
            Self::Text(path) => text::open_naming(path, &opening.columns),
            other if opening.columns.is_empty() => other.open(),
            _ => Err(Error::setting(
                "columns",
                "are named, but only a text file has columns with names; in a folder labels.npy, bag_ids.npy and \
                 groups.npy say what they would",
            )),
        }
    }

    /// Reads or draws the bags.
    ///
    /// # Errors
    /// As [`npy::open`], [`slides::open`], [`packed::open`], [`text::open`], [`Protocol::digits_bags`], [`Protocol::mnist_bags`],
    /// [`ClassBags::digits`], [`ClassBags::mnist`], [`Collage::digits`], [`Collage::mnist`], [`Haystack::digits`],
    /// [`Haystack::mnist`], [`Textures::bags`] and [`Assumption::bags`].
    pub fn open(&self) -> Result<Dataset> {
        match self {
            Self::Npy(folder) => npy::open(folder),
            Self::Slides(path) => slides::open(path, &Opening::default()),
            Self::Packed(path) => packed::open(path, &Opening::default()),
            Self::Text(path) => text::open(path),
            Self::DigitsBags(protocol) => protocol.digits_bags(),
            Self::MnistBags { folder, protocol } => protocol.mnist_bags(folder),
            Self::DigitsClasses(classes) => classes.digits(),
            Self::MnistClasses { folder, classes } => classes.mnist(folder),
            Self::DigitsCollage(collage) => collage.digits(),
            Self::MnistCollage { folder, collage } => collage.mnist(folder),
            Self::DigitsHaystack(haystack) => haystack.digits(),
            Self::MnistHaystack { folder, haystack } => haystack.mnist(folder),
            Self::Textures(textures) => textures.bags(),
            Self::Assumption(assumption) => assumption.bags(),
        }
    }
}

fn folder(path: &Path) -> Result<Source> {
    if ["features.npy", "pixels.npy"].iter().any(|name| path.join(name).exists()) {
        return Ok(Source::Npy(path.into()));
    }
    if slides::is_slides(path) {
        return Ok(Source::Slides(path.into()));
    }
    if idx::is_mnist(path) {
        let message = format!("this folder has images but no bags; mnist-bags:{} draws bags from it", path.display());
        return Err(Error::format(path, message));
    }
    let message = "expected features.npy or pixels.npy in this folder, found neither; and neither it nor folders in it have \
                   files of slides";
    Err(Error::format(path, message))
}

/// The folder of `head` when it is `generator:FOLDER`.
fn mnist_folder(head: &str, generator: &str) -> Result<Option<PathBuf>> {
    let Some(folder) = head.strip_prefix(generator).filter(|f| f.is_empty() || f.starts_with(':')) else {
        return Ok(None);
    };
    let folder = folder.trim_start_matches(':');
    if folder.is_empty() {
        let message = format!("expected {generator}:FOLDER with the folder of the four MNIST files, found no folder");
        return Err(Error::setting("data", message));
    }
    Ok(Some(folder.into()))
}

/// Names and values of `text` (name=value, comma-separated).
fn settings(text: Option<&str>) -> impl Iterator<Item = Result<(&str, &str)>> {
    text.into_iter().flat_map(|t| t.split(',')).map(|setting| {
        let (name, value) = setting.split_once('=').ok_or_else(|| Error::setting(setting, "expected name=value"))?;
        Ok((name.trim(), value))
    })
}

/// The collage with the settings of `text`.
fn collage(text: Option<&str>) -> Result<Collage> {
    let mut collage = Collage::default();
    for setting in settings(text) {
        let (name, value) = setting?;
        match name {
            "pair" => {
                if !value.contains(':') {
                    return Err(Error::setting(name, format!("expected two digits, such as 0:1, found '{value}'")));
                }
                collage.pair = range(name, value)?;
            }
            "inverse" => collage.inverse = number(name, value)?,
            "distance" => collage.distance = Some(number(name, value)?),
            "mean" => collage.mean = number(name, value)?,
            "spread" => collage.spread = number(name, value)?,
            "train" => collage.train = number(name, value)?,
            "test" => collage.test = number(name, value)?,
            "onehot" => collage.onehot = number(name, value)?,
            "seed" => collage.seed = number(name, value)?,
            _ => {
                let known = "pair, inverse, distance, mean, spread, train, test, onehot or seed";
                return Err(Error::setting(name, format!("unknown; expected {known}")));
            }
        }
    }
    Ok(collage)
}

/// The haystack with the settings of `text`.
fn haystack(text: Option<&str>) -> Result<Haystack> {
    let mut haystack = Haystack::default();
    for setting in settings(text) {
        let (name, value) = setting?;
        match name {
            "target" => haystack.target = number(name, value)?,
            "size" => haystack.size = range(name, value)?,
            "share" => haystack.share = range(name, value)?,
            "noise" => haystack.noise = number(name, value)?,
            "stain" => haystack.stain = number(name, value)?,
            "confounded" => haystack.confounded = number(name, value)?,
            "train" => haystack.train = number(name, value)?,
            "test" => haystack.test = number(name, value)?,
            "seed" => haystack.seed = number(name, value)?,
            _ => {
                let known = "target, size, share, noise, stain, confounded, train, test or seed";
                return Err(Error::setting(name, format!("unknown; expected {known}")));
            }
        }
    }
    Ok(haystack)
}

/// Two numbers `a:b`; a single one stands for both.
fn range<T: FromStr<Err: std::fmt::Display>>(name: &str, value: &str) -> Result<[T; 2]> {
    let (a, b) = value.split_once(':').unwrap_or((value, value));
    Ok([number(name, a)?, number(name, b)?])
}

/// The bags of a test of the MIL assumption with the settings of `text`.
fn assumption(text: Option<&str>) -> Result<Assumption> {
    let mut assumption = Assumption::default();
    for setting in settings(text) {
        let (name, value) = setting?;
        match name {
            "kind" => assumption.kind = value.parse().map_err(|message: String| Error::setting(name, message))?,
            "width" => assumption.width = number(name, value)?,
            "train" => assumption.train = number(name, value)?,
            "test" => assumption.test = number(name, value)?,
            "seed" => assumption.seed = number(name, value)?,
            _ => {
                let known = "kind, width, train, test or seed";
                return Err(Error::setting(name, format!("unknown; expected {known}")));
            }
        }
    }
    Ok(assumption)
}

/// The textures with the settings of `text`.
fn textures(text: Option<&str>) -> Result<Textures> {
    let mut textures = Textures::default();
    for setting in settings(text) {
        let (name, value) = setting?;
        match name {
            "key" => textures.key = number(name, value)?,
            "side" => textures.side = number(name, value)?,
            "mean" => textures.mean = number(name, value)?,
            "spread" => textures.spread = number(name, value)?,
            "rate" => textures.rate = number(name, value)?,
            "train" => textures.train = number(name, value)?,
            "test" => textures.test = number(name, value)?,
            "seed" => textures.seed = number(name, value)?,
            _ => {
                let known = "key, side, mean, spread, rate, train, test or seed";
                return Err(Error::setting(name, format!("unknown; expected {known}")));
            }
        }
    }
    Ok(textures)
}

/// The bags of several classes with the settings of `text`.
fn class_bags(text: Option<&str>) -> Result<ClassBags> {
    let mut bags = ClassBags::default();
    for setting in settings(text) {
        let (name, value) = setting?;
        match name {
            "classes" => bags.classes = value.split(':').map(|digit| number(name, digit)).collect::<Result<_>>()?,
            "mean" => bags.mean = number(name, value)?,
            "spread" => bags.spread = number(name, value)?,
            "train" => bags.train = number(name, value)?,
            "test" => bags.test = number(name, value)?,
            "seed" => bags.seed = number(name, value)?,
            _ => {
                let known = "classes, mean, spread, train, test or seed";
                return Err(Error::setting(name, format!("unknown; expected {known}")));
            }
        }
    }
    Ok(bags)
}

/// `protocol` with the settings of `text`.
fn protocol(mut protocol: Protocol, text: Option<&str>) -> Result<Protocol> {
    for setting in settings(text) {
        let (name, value) = setting?;
        match name {
            "target" => protocol.target = number(name, value)?,
            "mean" => protocol.mean = number(name, value)?,
            "spread" => protocol.spread = number(name, value)?,
            "train" => protocol.train = number(name, value)?,
            "test" => protocol.test = number(name, value)?,
            "balanced" => protocol.balanced = number(name, value)?,
            "seed" => protocol.seed = number(name, value)?,
            "shift" => protocol.views.shift = number(name, value)?,
            "turn" => protocol.views.turn = number(name, value)?,
            "zoom" => protocol.views.zoom = number(name, value)?,
            _ => {
                let known = "target, mean, spread, train, test, balanced, seed, shift, turn or zoom";
                return Err(Error::setting(name, format!("unknown; expected {known}")));
            }
        }
    }
    Ok(protocol)
}

fn number<T: FromStr<Err: std::fmt::Display>>(name: &str, value: &str) -> Result<T> {
    value.trim().parse().map_err(|e| Error::setting(name, format!("'{value}': {e}")))
}

#[cfg(test)]
mod tests {
    use super::super::Views;
    use super::super::idx::tests::idx;
    use super::*;

    #[test]
    fn paths_are_seen_from_a_folder() {
        let folder = Path::new("/data/runs");
        let seen = |source: &str| Source::seen_from(source, folder);
        let absolute = |path: &str| std::path::absolute(folder.join(path)).unwrap().display().to_string();
        assert_eq!(seen("musk1"), absolute("musk1"));
        assert_eq!(seen("bags,1.csv"), absolute("bags,1.csv"));
        assert_eq!(seen(&seen("bags.csv")), seen("bags.csv"));
        assert_eq!(seen("mnist-bags:raw,train=5"), format!("mnist-bags:{},train=5", absolute("raw")));
        assert_eq!(seen("digits-bags,seed=3"), "digits-bags,seed=3");
        // None is missing in the lists that this goes by.
        for generator in GENERATORS.replace(" and ", ", ").split(", ") {
            let known = match generator.strip_suffix(":FOLDER") {
                Some(name) => DRAWN_FROM.contains(&name),
                None => DRAWN.contains(&generator),
            };
            assert!(known, "{generator}");
        }
    }

    #[test]
    fn generators_take_settings() {
        assert_eq!(Source::parse("digits-bags").unwrap(), Source::DigitsBags(Protocol::digits()));
        let set =
            "digits-bags,target=3,mean=20.5,spread=4,train=50,test=7,balanced=false,seed=8,shift=0.5,turn=10,zoom=0.1";
        let views = Views { shift: 0.5, turn: 10.0, zoom: 0.1 };
        let expected =
            Protocol { target: 3, mean: 20.5, spread: 4.0, train: 50, test: 7, balanced: false, seed: 8, views };
        assert_eq!(Source::parse(set).unwrap(), Source::DigitsBags(expected));
        let Source::MnistBags { folder, protocol } = Source::parse("mnist-bags:some/where,train=5").unwrap() else {
            panic!("expected a generator");
        };
        assert_eq!((folder, protocol), ("some/where".into(), Protocol { train: 5, ..Protocol::mnist() }));
    }

    #[test]
    fn collages_take_settings() {
        assert_eq!(Source::parse("digits-collage").unwrap(), Source::DigitsCollage(Collage::default()));
        let set = "digits-collage,pair=3:7,inverse=true,distance=150,mean=8,spread=1,train=5,test=6,onehot=true,seed=9";
        let expected = Collage {
            pair: [3, 7],
            inverse: true,
            distance: Some(150.0),
            mean: 8.0,
            spread: 1.0,
            train: 5,
            test: 6,
            onehot: true,
            seed: 9,
        };
        assert_eq!(Source::parse(set).unwrap(), Source::DigitsCollage(expected));
        let Source::MnistCollage { folder, collage } = Source::parse("mnist-collage:some/where,train=5").unwrap()
        else {
            panic!("expected a generator");
        };
        assert_eq!((folder, collage), ("some/where".into(), Collage { train: 5, ..Collage::default() }));
    }

    #[test]
    fn haystacks_take_settings() {
        assert_eq!(Source::parse("digits-haystack").unwrap(), Source::DigitsHaystack(Haystack::default()));
        let set =
            "digits-haystack,target=3,size=20:30,share=0.1,noise=0.5,stain=2,confounded=0.9,train=5,test=6,seed=9";
        let expected = Haystack {
            target: 3,
            size: [20, 30],
            share: [0.1, 0.1],
            noise: 0.5,
            stain: 2.0,
            confounded: 0.9,
            train: 5,
            test: 6,
            seed: 9,
        };
        assert_eq!(Source::parse(set).unwrap(), Source::DigitsHaystack(expected));
        let Source::MnistHaystack { folder, haystack } = Source::parse("mnist-haystack:some/where,train=5").unwrap()
        else {
            panic!("expected a generator");
        };
        assert_eq!((folder, haystack), ("some/where".into(), Haystack { train: 5, ..Haystack::default() }));
    }

    #[test]
    fn textures_take_settings() {
        assert_eq!(Source::parse("textures").unwrap(), Source::Textures(Textures::default()));
        let set = "textures,key=3,side=16,mean=9,spread=1,rate=0.2,train=5,test=6,seed=9";
        let (mean, spread, rate) = (9.0, 1.0, 0.2);
        let expected = Textures { key: 3, side: 16, mean, spread, rate, train: 5, test: 6, seed: 9 };
        assert_eq!(Source::parse(set).unwrap(), Source::Textures(expected));
        assert!(Source::parse("textures,pair=3").unwrap_err().to_string().contains("expected key, side"));
    }

    #[test]
    fn classes_take_settings() {
        assert_eq!(Source::parse("digits-classes").unwrap(), Source::DigitsClasses(ClassBags::default()));
        let set = "digits-classes,classes=1:7,mean=8,spread=1,train=5,test=6,seed=9";
        let expected = ClassBags { classes: vec![1, 7], mean: 8.0, spread: 1.0, train: 5, test: 6, seed: 9 };
        assert_eq!(Source::parse(set).unwrap(), Source::DigitsClasses(expected.clone()));
        let Source::MnistClasses { folder, classes } =
            Source::parse(set.replace("digits-classes", "mnist-classes:x/y")).unwrap()
        else {
            panic!("expected a generator");
        };
        assert_eq!((folder, classes), ("x/y".into(), expected));
    }

    #[test]
    fn wrong_sources_are_explained() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        let refused = |source: &Path, what: &str| {
            let message = Source::parse(source).unwrap_err().to_string();
            assert!(message.contains(what), "{message}");
        };
        refused(Path::new("digits-bags,colour=3"), "setting colour: unknown; expected target");
        refused(Path::new("digits-bags,target=300"), "setting target: '300'");
        refused(Path::new("digits-bags,"), "expected name=value");
        refused(Path::new("digits-classes,classes=3:x"), "setting classes: 'x'");
        refused(Path::new("digits-classes,target=3"), "setting target: unknown; expected classes");
        refused(Path::new("mnist-bags"), "found no folder");
        refused(Path::new("mnist-bags:"), "found no folder");
        refused(Path::new("mnist-collage"), "expected mnist-collage:FOLDER");
        refused(Path::new("digits-collage,pair=3"), "expected two digits, such as 0:1, found '3'");
        refused(Path::new("digits-collage,target=3"), "setting target: unknown; expected pair");
        refused(Path::new("digits-haystack,pair=3:4"), "setting pair: unknown; expected target, size");
        refused(Path::new("digits-haystack,size=a:4"), "setting size: 'a'");
        refused(Path::new("mnist-haystack"), "expected mnist-haystack:FOLDER");
        refused(&path("absent"), "the generators are digits-bags");
        refused(dir.path(), "found neither");
        std::fs::write(path("features.npy.bak"), "").unwrap();
        refused(dir.path(), "found neither");
        std::fs::create_dir(path("alone")).unwrap();
        std::fs::write(path("alone/features.npy"), "").unwrap();
        refused(&path("alone/features.npy"), "give the folder of the npy files");
        std::fs::write(path("train-images-idx3-ubyte"), "").unwrap();
        refused(dir.path(), "draws bags from it");
        std::fs::write(path("features.npy"), "").unwrap();
        assert_eq!(Source::parse(dir.path()).unwrap(), Source::Npy(dir.path().into()));
        assert_eq!(
            Source::parse(path("train-images-idx3-ubyte")).unwrap(),
            Source::Text(path("train-images-idx3-ubyte"))
        );
    }

    #[test]
    fn mnist_files_give_bags() {
        let dir = tempfile::tempdir().unwrap();
        for part in ["train", "t10k"] {
            let write = |name: &str, bytes: Vec<u8>| std::fs::write(dir.path().join(format!("{part}-{name}")), bytes);
            write("images-idx3-ubyte", idx(&[4, 2, 2], &[7; 16])).unwrap();
            write("labels-idx1-ubyte", idx(&[4], &[9, 1, 2, 3])).unwrap();
        }
        let set = Dataset::open(format!("mnist-bags:{},train=6,test=4,mean=3", dir.path().display())).unwrap();
        assert_eq!((set.bags.len(), set.bags.width, &set.name[..]), (10, 4, "mnist-bags"));
        assert_eq!(set.bags.labels, Some(vec![1, 0, 1, 0, 1, 0, 1, 0, 1, 0]));
        let collage = |settings: &str| Dataset::open(format!("mnist-collage:{},{settings}", dir.path().display()));
        let set = collage("train=6,test=4,onehot=true").unwrap();
        assert_eq!((set.bags.len(), set.bags.width, &set.name[..]), (10, 10, "mnist-collage"));
        let haystack = format!("mnist-haystack:{},size=5:9,train=2,test=2", dir.path().display());
        let set = Dataset::open(haystack).unwrap();
        assert_eq!((set.bags.len(), set.bags.width, &set.name[..]), (4, 4, "mnist-haystack"));
        let message = collage("train=6").unwrap_err().to_string();
        assert!(message.contains("mnist-collage: expected train images of every digit, found none of 0"), "{message}");
    }
}
