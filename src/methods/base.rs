//! Methods around methods: a setting that is a method, and what a network says of itself to whatever is around it.

use super::layers::Network;
use super::{Method, Methods};
use crate::error::{Error, Result};
use crate::tape::{Storage, ValueId};
use serde::de::{Deserializer, Error as _};
use serde::{Deserialize, Serialize, Serializer};
use serde_json::{Map, Value};

/// A setting that is a method of this crate. In files it is an object with the name under `method` and the settings
/// beside it; what is read may be the name alone, or settings alone, which are then of `attention`.
#[derive(Clone, Debug, PartialEq)]
pub struct Base(pub Method);

impl<T: Into<Method>> From<T> for Base {
    fn from(method: T) -> Self {
        Self(method.into())
    }
}

impl Serialize for Base {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Base {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (name, settings) = match Value::deserialize(deserializer)? {
            Value::String(name) => (name, Map::new()),
            Value::Object(mut settings) => match settings.remove("method") {
                None => ("attention".to_owned(), settings),
                Some(Value::String(name)) => (name, settings),
                Some(other) => return Err(D::Error::custom(format!("method: expected a name, found {other}"))),
            },
            other => {
                let message =
                    format!("expected the name of a method, or an object with it under \"method\", found {other}");
                return Err(D::Error::custom(message));
            }
        };
        Methods::default().read(&name, &settings).map(Base).map_err(D::Error::custom)
    }
}

/// The features of the bags that the last layer of a network classifies.
#[derive(Clone, Debug)]
pub struct BagFeatures {
    /// `[B, parts width]`.
    pub value: ValueId,
    /// Rows side by side in it: one, or one for each class.
    pub parts: u32,
    /// What names of parameters begin with that belong to the same part of the network, such as `tier2.`.
    pub prefix: &'static str,
}

/// What instances are ranked by where a network has something better for that than the attention or the scores it gives:
/// values of the instances, or of the tokens.
#[derive(Clone, Copy, Debug)]
pub struct Ranking {
    /// `[N, K]` or `[Tokens, K]`; larger is more important.
    pub value: ValueId,
    /// The columns are heads that vote, rather than classes of which the largest counts.
    pub vote: bool,
}

/// Makes of the features of bags what is classified in their place.
pub(super) type Hook = Box<dyn FnOnce(&mut Network, &BagFeatures) -> Result<ValueId>>;

/// Records `base` with a hook at the features of its bags. Answers what these were.
///
/// # Errors
/// [`Error::Setting`] for a base without them or one that is around another itself, and as of the base.
pub(super) fn put_around(
    net: &mut Network,
    around: &str,
    base: &Method,
    hook: Option<Hook>,
    asks: bool,
) -> Result<BagFeatures> {
    if net.around.taken {
        let message = format!("{around} is around a method itself, and one around it would not reach that");
        return Err(Error::setting("base", message));
    }
    (net.around.taken, net.around.hook, net.around.asks) = (true, hook, asks);
    base.push(net)?;
    net.around.features.clone().ok_or_else(|| {
        let (name, able) = (base.name(), able().join(", "));
        Error::setting("base", format!("{name} tells of no features of bags, which {around} needs; these do: {able}"))
    })
}

/// The methods of this crate that others can be around.
pub fn able() -> Vec<&'static str> {
    let tells = |method: &&Method| {
        // Features that are pictures too.
        let mut net = Network::new(28 * 28, 2, Storage::F32, false);
        method.push(&mut net).is_ok() && net.around.features.is_some() && !net.around.taken
    };
    Methods::default().all().iter().filter(tells).map(Method::name).collect()
}
