//! Lists of methods: those of this crate, and those that a program adds.

use super::Dtfd;
use super::encoder::Encoder;
use super::{AdaptivePooling, CertaintyPooling, PowerPooling};
use super::{Additive, Attention, DasMil, Dsmil, GatedAttention, MhimAttention, MhimDsmil, MhimTransMil};
use super::{CausalMil, DpMinn, Extreme, FocusMil, LossAttention, Mivae};
use super::{ClamMb, ClamSb, Transformer};
use super::{GnnMil, SaAbmilp};
use super::{Ibmil, Mhim};
use super::{Method, MilMethod};
use super::{MiNet, MiNetBag, MiNetDs, MiNetRc, Millet, Mirel, TransMil};
use crate::error::{Error, Result};
use serde_json::{Map, Value};

/// Methods that are known by name: the ones of this crate ([`Methods::default`]), and more that a program adds.
///
/// Whatever reads a method by its name takes such a list: [`crate::model::Model::load_with`], for one. Nothing is
/// global: two lists of one program may differ.
#[derive(Clone, Debug, PartialEq)]
pub struct Methods(Vec<Method>);

impl Default for Methods {
    fn default() -> Self {
        Self(vec![
            MiNet::default().into(),
            MiNetBag::default().into(),
            MiNetDs::default().into(),
            MiNetRc::default().into(),
            AdaptivePooling::default().into(),
            PowerPooling::default().into(),
            CertaintyPooling::default().into(),
            Attention::default().into(),
            GatedAttention::default().into(),
            LossAttention::default().into(),
            DpMinn::default().into(),
            ClamSb::default().into(),
            ClamMb::default().into(),
            Extreme::default().into(),
            Additive::default().into(),
            Dsmil::default().into(),
            Millet::default().into(),
            Mirel::default().into(),
            TransMil::default().into(),
            Transformer::default().into(),
            GnnMil::default().into(),
            SaAbmilp::default().into(),
            DasMil::default().into(),
            MhimAttention::default().into(),
            MhimDsmil::default().into(),
            MhimTransMil::default().into(),
            Mhim::default().into(),
            Dtfd::default().into(),
            Ibmil::default().into(),
            FocusMil::default().into(),
            CausalMil::default().into(),
            Mivae::default().into(),
        ])
    }
}

impl Methods {
    /// The same list and the method `T`.
    ///
    /// # Errors
    /// [`Error::Setting`] when a method of the list has its name, or that of the encoder of patches.
    pub fn with<T: MilMethod>(mut self) -> Result<Self> {
        let method = Method::from(T::default());
        if self.find(T::NAME).is_some_and(|known| known.get::<T>().is_none()) {
            return Err(Error::setting("method", format!("there is a method {:?} already", T::NAME)));
        }
        if !self.0.contains(&method) {
            self.0.push(method);
        }
        Ok(self)
    }

    /// All of them, with their defaults.
    pub fn all(&self) -> &[Method] {
        &self.0
    }

    /// The method called `name` with its defaults.
    ///
    /// # Errors
    /// [`Error::Setting`] that lists the names there are.
    pub fn named(&self, name: &str) -> Result<Method> {
        self.0.iter().find(|m| m.name() == name).cloned().ok_or_else(|| Error::setting("method", self.unknown(name)))
    }

    fn unknown(&self, name: &str) -> String {
        let names: Vec<&str> = self.0.iter().map(Method::name).collect();
        format!("there is no method {name:?}; there are: {}", names.join(", "))
    }

    /// One of the list, or the encoder of patches, which model files may hold though it is no MIL method.
    fn find(&self, name: &str) -> Option<Method> {
        let encoder = || Some(Method::from(Encoder::default())).filter(|encoder| encoder.name() == name);
        self.0.iter().find(|m| m.name() == name).cloned().or_else(encoder)
    }

    /// What a model file says: the method called `name` with these settings, others as they are by default. The encoder
    /// of patches is found too.
    ///
    /// # Errors
    /// [`Error::Setting`] for a method or a setting that there is not, or a value of the wrong kind.
    pub fn read(&self, name: &str, settings: &Map<String, Value>) -> Result<Method> {
        let method = self.find(name).ok_or_else(|| Error::setting("method", self.unknown(name)))?;
        method.over(settings).map_err(|message| Error::setting("method", message))
    }
}

#[cfg(test)]
#[path = "registry_tests.rs"]
mod tests;
