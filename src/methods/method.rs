//! What a method is: typed settings that record a network, and the handle that everything else holds one by.

use super::checks::{MOST_FEATURES, MOST_OF_A_SETTING, check_network, check_size, check_target};
use super::layers::Network;
use super::{Methods, ordered};
use crate::error::{Error, Result};
use crate::groups::Group;
use crate::ops::loss::Soft;
use crate::ops::schedule::Schedule;
use crate::ops::update::Optimiser;
use crate::tape::{Storage, Tape};
use crate::target::Target;
use serde::de::DeserializeOwned;
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value};
use std::any::Any;
use std::fmt;
use std::sync::Arc;

/// A MIL method: a struct of settings, which records a network for bags of a given width and number of classes.
///
/// The methods of this crate and those of other crates are made alike. The struct derives serde's traits, so that
/// settings can be written into model files, read back, and set by name; its `Default` is what the paper says. Fields
/// that a file does not name are as in the default, and names that are no field are refused. Whole numbers among them
/// may be 65,536 at most.
///
/// `examples/own_method.rs` has one from outside the crate.
pub trait MilMethod: Clone + fmt::Debug + Default + Serialize + DeserializeOwned + Send + Sync + 'static {
    /// Name on the command line and in files. A second method of the same name cannot be in one list.
    const NAME: &'static str;

    /// What lists of methods tell.
    fn about() -> About {
        About { title: Self::NAME, paper: "", level: Level::Bag }
    }

    /// What each setting does, for people: pairs of a name and a line.
    fn help() -> Vec<(&'static str, &'static str)> {
        Vec::new()
    }

    /// How it is trained unless told otherwise: the recipe of its paper. Here that of Attention MIL.
    fn recipe(&self) -> Recipe {
        Recipe { optimiser: Optimiser::adam(1e-4), learning_rate: 5e-4, time_decay: 0.0, epochs: 100, bags: 1 }
    }

    /// How the learning rate of the recipe moves.
    fn schedule(&self) -> Schedule {
        match self.recipe().time_decay {
            0.0 => Schedule::Constant,
            decay => Schedule::TimeDecay { decay },
        }
    }

    /// Parameters that the recipe treats otherwise than the others, or clips by themselves.
    fn groups(&self) -> Vec<Group> {
        Vec::new()
    }

    /// True when bags may have several labels at once ([`crate::Bags::label_sets`]): the loss knows each by itself.
    fn takes_label_sets(&self) -> bool {
        false
    }

    /// What is trained before it, with the same settings and bags, where it needs something of such a model
    /// ([`crate::stages`]).
    fn before(&self) -> Option<Method> {
        None
    }

    /// Pushes the network, and ends in [`Network::finish`].
    ///
    /// # Errors
    /// [`Error::Setting`] for settings out of range.
    fn record(&self, network: &mut Network) -> Result<()>;
}

/// What lists tell about a method.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct About {
    /// What papers call it.
    pub title: &'static str,
    /// Where it was published.
    pub paper: &'static str,
    /// Instance or bag.
    pub level: Level,
}

/// What level a method classifies at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Instances are classified, then pooled.
    Instance,
    /// Instances are embedded and pooled, then the bag is classified.
    Bag,
}

/// What the list of methods tells about one.
#[derive(Clone, Debug, Serialize)]
pub struct Info {
    /// Name on the command line and in files.
    pub name: &'static str,
    /// What papers call it.
    pub title: &'static str,
    /// Where it was published.
    pub paper: &'static str,
    /// Instance or bag.
    pub level: Level,
    /// Takes bags with several labels each, too ([`Method::takes_label_sets`]).
    pub label_sets: bool,
    /// Settings with their values (of a method from a list: the defaults), in the order of their names.
    pub parameters: Vec<Setting>,
}

/// One setting of a method.
#[derive(Clone, Debug, Serialize)]
pub struct Setting {
    /// Name.
    pub name: String,
    /// Value unless set.
    pub default: Value,
    /// What it does.
    pub help: &'static str,
}

/// How a method is trained unless told otherwise: the recipe of its paper.
#[derive(Clone, Debug, PartialEq)]
pub struct Recipe {
    /// Update rule and decay.
    pub optimiser: Optimiser,
    /// Learning rate at the start.
    pub learning_rate: f64,
    /// Keras' decay of the learning rate per update.
    pub time_decay: f64,
    /// Passes over the training bags.
    pub epochs: u32,
    /// Bags of an update.
    pub bags: u32,
}

/// A [`MilMethod`] whose type is not known: what [`Method`] holds.
trait Known: fmt::Debug + Send + Sync {
    fn name(&self) -> &'static str;
    fn settings(&self) -> serde_json::Result<Vec<(String, Value)>>;
    fn defaults(&self) -> Method;
    fn over(&self, changed: &Map<String, Value>) -> Result<Method, String>;
    fn info(&self) -> (About, Vec<(&'static str, &'static str)>);
    fn recipe(&self) -> Recipe;
    fn schedule(&self) -> Schedule;
    fn groups(&self) -> Vec<Group>;
    fn takes_label_sets(&self) -> bool;
    fn before(&self) -> Option<Method>;
    fn record(&self, network: &mut Network) -> Result<()>;
    fn as_any(&self) -> &dyn Any;
}

impl<T: MilMethod> Known for T {
    fn name(&self) -> &'static str {
        T::NAME
    }
    fn settings(&self) -> serde_json::Result<Vec<(String, Value)>> {
        ordered::pairs(&serde_json::to_string(self)?)
    }
    fn defaults(&self) -> Method {
        Method::of(T::default())
    }
    fn over(&self, changed: &Map<String, Value>) -> Result<Method, String> {
        let settings = Known::settings(self).map_err(|e| e.to_string())?;
        let mut all: Map<String, Value> = settings.into_iter().collect();
        for (name, value) in changed {
            match all.get_mut(name) {
                Some(setting) => *setting = value.clone(),
                None => {
                    let names: Vec<&str> = all.keys().map(String::as_str).collect();
                    return Err(format!("unknown setting `{name}`; {} has: {}", T::NAME, names.join(", ")));
                }
            }
        }
        serde_json::from_value::<T>(Value::Object(all)).map(Method::of).map_err(|e| e.to_string())
    }
    fn info(&self) -> (About, Vec<(&'static str, &'static str)>) {
        (T::about(), T::help())
    }
    fn recipe(&self) -> Recipe {
        MilMethod::recipe(self)
    }
    fn schedule(&self) -> Schedule {
        MilMethod::schedule(self)
    }
    fn groups(&self) -> Vec<Group> {
        MilMethod::groups(self)
    }
    fn takes_label_sets(&self) -> bool {
        MilMethod::takes_label_sets(self)
    }
    fn before(&self) -> Option<Method> {
        MilMethod::before(self)
    }
    fn record(&self, network: &mut Network) -> Result<()> {
        MilMethod::record(self, network)
    }
    fn as_any(&self) -> &dyn Any {
        self
    }
}

/// A method with its settings, whichever it is. Cheap to clone. Serialises as `{ "method": name, ...settings }`; two
/// are equal when name and settings are.
///
/// ```
/// use bagrad::methods::{GatedAttention, Method};
/// let typed = Method::from(GatedAttention { embed: vec![256], ..Default::default() });
/// let by_name = Method::named("gated-attention")?.with(serde_json::json!({ "embed": [256] }).as_object().unwrap())?;
/// assert_eq!(typed, by_name);
/// assert_eq!(typed.get::<GatedAttention>().map(|settings| settings.heads), Some(1));
/// # Ok::<(), bagrad::Error>(())
/// ```
#[derive(Clone)]
pub struct Method(Arc<dyn Known>);

impl<T: MilMethod> From<T> for Method {
    fn from(method: T) -> Self {
        Self::of(method)
    }
}

impl fmt::Debug for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl PartialEq for Method {
    fn eq(&self, other: &Self) -> bool {
        self.name() == other.name() && self.ordered() == other.ordered()
    }
}

impl Serialize for Method {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("method", self.name())?;
        for (name, value) in self.ordered() {
            map.serialize_entry(&name, &value)?;
        }
        map.end()
    }
}

/// Of the methods of this crate. [`Methods::read`] reads those of other crates too.
impl<'de> Deserialize<'de> for Method {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        use serde::de::Error;
        let mut settings = Map::deserialize(deserializer)?;
        let Some(Value::String(name)) = settings.remove("method") else {
            return Err(D::Error::custom("expected the name of a method under \"method\""));
        };
        Methods::default().read(&name, &settings).map_err(D::Error::custom)
    }
}

impl Method {
    fn of<T: MilMethod>(method: T) -> Self {
        Self(Arc::new(method))
    }

    /// All methods of this crate with their defaults.
    pub fn all() -> Vec<Method> {
        Methods::default().all().to_vec()
    }

    /// The method of this crate called `name` with its defaults. [`Methods::named`] finds those of other crates too.
    ///
    /// # Errors
    /// [`Error::Setting`] that lists the names there are.
    pub fn named(name: &str) -> Result<Method> {
        Methods::default().named(name)
    }

    /// Name on the command line and in files.
    pub fn name(&self) -> &'static str {
        self.0.name()
    }

    /// The typed settings, when it is a `T`.
    pub fn get<T: MilMethod>(&self) -> Option<&T> {
        self.0.as_any().downcast_ref()
    }

    /// Settings by their names.
    pub fn settings(&self) -> Map<String, Value> {
        self.ordered().into_iter().collect()
    }

    /// Settings in the order of the fields. What has none that could be written is never recorded.
    fn ordered(&self) -> Vec<(String, Value)> {
        self.0.settings().unwrap_or_default()
    }

    /// Refuses settings that a model file could not hold: no object, a field that is called as the file calls the
    /// method's name, numbers that are not finite, sizes that could not be counted.
    fn check_settings(&self) -> Result<()> {
        let settings = self.0.settings();
        let settings = settings.map_err(|e| Error::setting(self.name(), format!("settings are no object: {e}")))?;
        if settings.iter().any(|(name, _)| name == "method") {
            return Err(Error::setting("method", "no setting may be called so: it is the name of the method in files"));
        }
        let back = self.over(&Map::new()).map_err(|e| Error::setting(self.name(), format!("settings: {e}")))?;
        if back != *self {
            return Err(Error::setting(self.name(), "settings change on their way through a file"));
        }
        settings.iter().try_for_each(|(name, value)| check_size(name, value))
    }

    /// The same method with all settings as they are by default.
    pub fn defaults(&self) -> Method {
        self.0.defaults()
    }

    /// The same method with some settings replaced, given as `name = value` pairs.
    ///
    /// # Errors
    /// [`Error::Setting`] for an unknown setting (listing those there are) or a value of the wrong kind.
    pub fn with(&self, settings: &Map<String, Value>) -> Result<Method> {
        let all = self.settings();
        if let Some(name) = settings.keys().find(|name| !all.contains_key(*name)) {
            let names: Vec<&str> = all.keys().map(String::as_str).collect();
            let message = format!("{} has no such setting; it has: {}", self.name(), names.join(", "));
            return Err(Error::setting(name, message));
        }
        let names = || settings.keys().cloned().collect::<Vec<_>>().join(", ");
        self.0.over(settings).map_err(|message| Error::setting(names(), message))
    }

    /// As [`Method::with`], with a message alone.
    pub(super) fn over(&self, settings: &Map<String, Value>) -> Result<Method, String> {
        self.0.over(settings)
    }

    /// What the list of methods tells about it.
    pub fn info(&self) -> Info {
        let (About { title, paper, level }, help) = self.0.info();
        let setting = |(name, default): (String, Value)| Setting {
            help: help.iter().find(|(n, _)| *n == name).map_or("", |(_, h)| h),
            name,
            default,
        };
        let parameters = self.settings().into_iter().map(setting).collect();
        Info { name: self.name(), title, paper, level, label_sets: self.takes_label_sets(), parameters }
    }

    /// The recipe of its paper.
    pub fn recipe(&self) -> Recipe {
        self.0.recipe()
    }

    /// How the learning rate of the recipe moves.
    pub fn schedule(&self) -> Schedule {
        self.0.schedule()
    }

    /// Parameters that the recipe treats otherwise than the others, or clips by themselves.
    pub fn groups(&self) -> Vec<Group> {
        self.0.groups()
    }

    /// True when bags may have several labels at once ([`crate::Bags::label_sets`]): the loss knows each by itself.
    pub fn takes_label_sets(&self) -> bool {
        self.0.takes_label_sets()
    }

    /// What is trained before it, where it needs something of such a model.
    pub fn before(&self) -> Option<Method> {
        self.0.before()
    }

    /// Pushes its network, as [`MilMethod::record`].
    pub(super) fn push(&self, network: &mut Network) -> Result<()> {
        self.0.record(network)
    }

    /// Records the model for `width` features and `classes` classes, of which a bag has exactly one.
    ///
    /// # Errors
    /// [`Error::Setting`] for settings out of range.
    pub fn record(&self, width: usize, classes: usize, storage: Storage, instance_grads: bool) -> Result<Tape> {
        self.record_for(&Target::Classes, [width, classes], storage, instance_grads)
    }

    /// As [`Method::record`], for what is learnt of bags: `[width, classes]`, where classes are what the target has, so none
    /// for numbers and survival.
    ///
    /// # Errors
    /// [`Error::Setting`] for settings out of range, a target out of range, or one that this method does not learn.
    pub fn record_for(
        &self,
        target: &Target,
        sizes: [usize; 2],
        storage: Storage,
        instance_grads: bool,
    ) -> Result<Tape> {
        self.record_soft(target, Soft::default(), sizes, storage, instance_grads)
    }

    /// As [`Method::record_for`], with softened targets in the loss of bags.
    ///
    /// # Errors
    /// As there; [`Error::Setting`] for a target that is no class, and for a method with a loss of classes of its own.
    pub(crate) fn record_soft(
        &self,
        target: &Target,
        soft: Soft,
        [width, classes]: [usize; 2],
        storage: Storage,
        instance_grads: bool,
    ) -> Result<Tape> {
        if target.is_label_sets() && !self.takes_label_sets() {
            let able: Vec<&str> = Self::all().iter().filter(|m| m.takes_label_sets()).map(Method::name).collect();
            let settings = if able.contains(&self.name()) { " with these settings (negative)" } else { "" };
            return Err(Error::setting(
                "method",
                format!(
                    "{}{settings} is for bags of exactly one class, and these have any number of labels each; methods \
                     for those: {}",
                    self.name(),
                    able.join(", ")
                ),
            ));
        }
        if width == 0 {
            return Err(Error::setting("width", "a model needs at least one feature"));
        }
        match (target.has_classes(), classes) {
            (true, 0 | 1) => {
                return Err(Error::setting("classes", format!("a model needs at least 2 classes, found {classes}")));
            }
            (false, 1..) => {
                return Err(Error::setting("classes", "a model of numbers or survival has no classes"));
            }
            _ => {}
        }
        for (name, found, most) in [("width", width, MOST_FEATURES), ("classes", classes, MOST_OF_A_SETTING)] {
            if found > most {
                return Err(Error::setting(name, format!("at most {most} are possible, found {found}")));
            }
        }
        self.check_settings()?;
        let target = target.clone().checked()?;
        soft.validate()?;
        if !target.has_classes() {
            soft.refuse("it softens classes, and here a number or a time is learnt")?;
        }
        let mut network = Network::new(width, classes, storage, instance_grads).learning(target).softened(soft);
        self.0.record(&mut network)?;
        check_target(&network, self.name())?;
        check_network(&network)?;
        Ok(network.tape)
    }

    /// True when it learns this target with these settings, of classes so many.
    pub fn learns(&self, target: &Target, classes: usize) -> bool {
        self.record_for(target, [8, classes], Storage::F32, false).is_ok()
    }
}
