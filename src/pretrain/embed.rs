//! Features of patches from an encoder.

use super::{ahead, augment};
use crate::bag::{Bags, Features};
use crate::data::{Dataset, Patches};
use crate::device::Device;
use crate::error::{Error, Result};
use crate::methods::encoder::{EMBEDDING, Encoder};
use crate::model::Model;
use crate::session::Session;
use crate::tape::Storage;
use rayon::prelude::*;

/// Checks that `model` is an encoder of patches of this size.
///
/// # Errors
/// [`Error::Setting`] for a model that is none, [`Error::Shape`] for other patches.
pub fn check(model: &Model, patches: &Patches) -> Result<()> {
    let Some(settings) = model.spec().method.get::<Encoder>() else {
        let message = format!("expected an encoder of patches, found a model of {}", model.spec().method.name());
        return Err(Error::setting("encoder", message));
    };
    if settings.image != patches.image().map(|v| v as u32) {
        let pictures = |[height, width, channels]: [usize; 3]| format!("{height} x {width} x {channels}");
        return Err(Error::Shape {
            operation: "embedding patches",
            expected: format!("patches of {}, as the encoder takes", pictures(settings.image.map(|v| v as usize))),
            found: pictures(patches.image()),
        });
    }
    Ok(())
}

/// Features of all patches, in the bags they are in, `batch` at a time; `told` hears of each batch how many it had.
///
/// # Errors
/// As [`check`], and what files and the device answer.
pub fn embed(
    device: &Device,
    model: &Model,
    patches: &Patches,
    batch: usize,
    told: &mut dyn FnMut(usize),
) -> Result<Dataset> {
    check(model, patches)?;
    if batch == 0 {
        return Err(Error::setting("batch", "expected at least one patch, found 0"));
    }
    let (image, values, count) = (patches.image(), patches.values(), patches.len());
    let mut session = Session::new(device, model.clone(), Storage::F32)?;
    let mut features = Vec::new();
    let make = |i: usize| {
        let rows = i * batch..((i + 1) * batch).min(count);
        let mut planes = vec![0.0; rows.len() * values];
        planes.par_chunks_exact_mut(values).zip(rows.clone()).try_for_each(|(out, row)| {
            augment::whole(&patches.pixels(row)?, image, out);
            Ok(())
        })?;
        Bags::packed(Features::F32(planes), values, &[rows.len()])
    };
    ahead(count.div_ceil(batch), make, |_, bags| {
        features.extend_from_slice(&session.outputs(&bags, &[0], None)?[EMBEDDING]);
        told(bags.instances());
        Ok(())
    })?;
    let width = features.len() / count;
    patches.with_features(features, width)
}
