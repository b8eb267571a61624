//! What has to be known before a model can be trained, as plain data on the tape: constants that are made of what another
//! model, trained before it ([`crate::methods::MilMethod::before`]), says of the training bags.

/// A constant ([`crate::tape::Init::Derived`]) whose rows are centres of clusters.
///
/// Rows of the output `from` of all training bags are brought to length 1 and clustered by K-means, from as many rows drawn
/// at random. A centre is the mean of the rows of its cluster as they were.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Derived {
    /// Name of the constant, `[clusters, width]`.
    pub into: String,
    /// Name of the output `[Bags, parts width]` of the model that was trained before.
    pub from: &'static str,
    /// Rows side by side in it.
    pub parts: u32,
    /// Number of clusters.
    pub clusters: u32,
    /// Rounds of K-means.
    pub iterations: u32,
    /// Seed of the rows that it starts from.
    pub seed: u64,
}
