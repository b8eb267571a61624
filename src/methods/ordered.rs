//! Objects of JSON in the order that they are written in, keys that come twice included.

use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::Value;
use std::fmt;

/// The entries of an object, in order.
struct Pairs(Vec<(String, Value)>);

impl<'de> serde::Deserialize<'de> for Pairs {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = Pairs;
            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Pairs, A::Error> {
                let mut all = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    all.push(entry);
                }
                Ok(Pairs(all))
            }
        }
        deserializer.deserialize_map(Reader)
    }
}

/// The entries of the object `text`, in order.
///
/// # Errors
/// When it is not JSON, or no object.
pub(crate) fn pairs(text: &str) -> serde_json::Result<Vec<(String, Value)>> {
    Ok(serde_json::from_str::<Pairs>(text)?.0)
}
