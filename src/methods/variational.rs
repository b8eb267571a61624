//! What the variational methods are built from: Gaussians of instances and bags, and means over what a batch holds.

use super::checks::check_least;
use super::layers::{Activation, Network, Pool};
use crate::error::{Error, Result};
use crate::kernels::launch::Input;
use crate::ops::gaussian::{GaussianLogDensity, GaussianRowKl, Reparameterise};
use crate::ops::pointwise::{Affine, Below, Multiply};
use crate::ops::reduce::ColumnSum;
use crate::ops::sharp_pool::DivideBy;
use crate::tape::{Link, ValueId};

/// Logarithms of variances are held within plus or minus this.
const LARGEST_LOG: f32 = 20.0;

/// A diagonal Gaussian for each row: means `[R, Z]` and logarithms of variances `[R, Z]`.
#[derive(Clone, Copy)]
pub struct Gaussian {
    pub mean: ValueId,
    pub log: ValueId,
}

impl Gaussian {
    /// Two layers `name.mean` and `name.log` over x.
    ///
    /// # Errors
    /// [`Error::Setting`] for no columns.
    pub fn of(net: &mut Network, name: &str, x: ValueId, columns: u32) -> Result<Self> {
        if columns == 0 {
            return Err(Error::setting("latent", "the width of the codes must be above 0"));
        }
        let mean = net.linear(&format!("{name}.mean"), x, columns, Activation::None)?;
        let log = net.linear(&format!("{name}.log"), x, columns, Activation::None)?;
        Ok(Self { mean, log: net.activate(log, Activation::Clamp(LARGEST_LOG))? })
    }

    /// A sample while learning, else the mean.
    pub fn sample(self, net: &mut Network) -> Result<ValueId> {
        let site = net.tape.next_random_site();
        net.tape.push1(Reparameterise { site }, &[self.mean, self.log])
    }

    /// The divergence of each row from the standard normal distribution, averaged over its columns `[R, 1]`.
    pub fn divergence(self, net: &mut Network) -> Result<ValueId> {
        net.tape.push1(GaussianRowKl, &[self.mean, self.log])
    }

    /// What one sample tells of the divergence of each row from another Gaussian, summed over the columns `[R, 1]`.
    pub fn divergence_from(self, net: &mut Network, prior: Self, sample: ValueId) -> Result<ValueId> {
        let own = net.tape.push1(GaussianLogDensity, &[sample, self.mean, self.log])?;
        let other = net.tape.push1(GaussianLogDensity, &[sample, prior.mean, prior.log])?;
        net.add(own, other, 1.0, -1.0)
    }
}

/// A mean `[1, 1]` over all rows of the batch, times the sum of the bags' weights, which is 1 for a mean over bags.
pub fn weighted(net: &mut Network, mean: ValueId) -> Result<ValueId> {
    let weights = net.tape.batch(Input::Weights, 1);
    let sum = net.tape.push1(ColumnSum, &[weights])?;
    net.tape.push1(Multiply, &[mean, sum])
}

/// The mean of x `[N, 1]` over all instances of the batch, times the sum of the bags' weights. Both sums go by bags, so
/// that it runs in windows of rows.
pub fn over_instances(net: &mut Network, x: ValueId) -> Result<ValueId> {
    let one = net.tape.push1(Below { limit: f32::INFINITY }, &[x])?;
    let total = |net: &mut Network, x: ValueId| {
        let sums = net.pool(x, Pool::Sum)?;
        net.tape.push1(ColumnSum, &[sums])
    };
    let (sum, count) = (total(net, x)?, total(net, one)?);
    let mean = net.tape.push1(DivideBy, &[sum, count])?;
    weighted(net, mean)
}

/// Cross-entropy of the bags, times a factor.
///
/// # Errors
/// [`Error::Setting`] for a factor that is not above 0.
pub fn classified(net: &mut Network, logits: ValueId, link: Link, factor: f32) -> Result<ValueId> {
    check_least("classification", factor, f32::MIN_POSITIVE)?;
    let loss = net.bag_loss(logits, link, 0.0)?;
    match factor {
        1.0 => Ok(loss),
        factor => net.tape.push1(Affine { factor, offset: 0.0 }, &[loss]),
    }
}
