//! The mean of what several models say, and how far they are apart.

use super::ensemble::{Answers, Spread};
use crate::ensemble::Ensemble;
use crate::tape::Link;
use crate::target::{Hazards, Target};
use crate::training::{Predictions, Told};

/// Edges at which curves of survival are compared, at most.
const MOST_EDGES: usize = 255;

/// A mean that grows.
pub(super) struct Mean {
    /// Scores of instances mean the same for all members.
    one_method: bool,
    /// Edges of a mean of curves of survival.
    edges: Vec<f32>,
    /// What is said of bags.
    members: Vec<Predictions>,
    /// What is said of instances, and of bags besides: a sum of it.
    sum: Option<Predictions>,
}

impl Mean {
    /// Of nothing so far.
    pub fn new(ensemble: &Ensemble) -> Self {
        let edges: Vec<&[f32]> = ensemble
            .members()
            .iter()
            .filter_map(|member| match &member.model.spec().target {
                Target::Hazards(hazards) => Some(&hazards.edges[..]),
                _ => None,
            })
            .collect();
        Self { one_method: ensemble.is_of_one_method(), edges: common_edges(&edges), members: Vec::new(), sum: None }
    }

    /// Adds what a member says.
    pub fn add(&mut self, said: Predictions) {
        self.members.push(of_bags(&said));
        match &mut self.sum {
            None => self.sum = Some(said),
            Some(sum) if self.one_method => add_instances(sum, &said),
            Some(sum) => forget_instances(sum),
        }
    }

    /// All of it.
    pub fn end(self) -> Answers {
        let Self { mut members, sum, edges, .. } = self;
        let sum = sum.unwrap_or_default();
        if members.len() < 2 {
            return Answers { mean: sum, members: Vec::new(), spread: None };
        }
        members.iter_mut().for_each(|member| at_edges(member, &edges));
        let mut mean = members[0].clone();
        take_instances(&mut mean, sum, members.len() as f32);
        let alike = |of: fn(&Predictions) -> usize| members.iter().all(|member| of(member) == of(&members[0]));
        if !alike(|member| member.outputs) {
            mean.outputs = mean.classes;
        }
        if members.iter().any(|member| member.link != mean.link) {
            // Whatever made a probability, it is that of its class against all others; rows need not sum to 1.
            mean.link = Link::IndependentSigmoids;
        }
        let mut spread = Spread::default();
        for (of, to, apart) in [
            (each(&members, |of| &of.probabilities), &mut mean.probabilities, &mut spread.probabilities),
            (each(&members, |of| &of.values), &mut mean.values, &mut spread.values),
            (each(&members, |of| &of.survival), &mut mean.survival, &mut spread.survival),
        ] {
            (*to, *apart) = moments(&of);
        }
        if matches!(mean.target, Target::Cox(_)) {
            spread.values.clear();
        }
        scores_of_the_class(&mut mean);
        Answers { mean, members, spread: Some(spread) }
    }
}

fn each(members: &[Predictions], of: fn(&Predictions) -> &Vec<f32>) -> Vec<&[f32]> {
    members.iter().map(|member| &of(member)[..]).collect()
}

/// Mean and deviation of each number over the members, which have as many of them.
fn moments(of: &[&[f32]]) -> (Vec<f32>, Vec<f32>) {
    let count = of.len() as f64;
    let one = |at: usize| {
        let values = || of.iter().map(|values| f64::from(values[at]));
        let mean = values().sum::<f64>() / count;
        let squares = values().map(|v| (v - mean).powi(2)).sum::<f64>();
        (mean as f32, (squares / (count - 1.0)).sqrt() as f32)
    };
    (0..of[0].len()).map(one).unzip()
}

/// What is said of bags, without their instances.
fn of_bags(said: &Predictions) -> Predictions {
    Predictions {
        target: said.target.clone(),
        classes: said.classes,
        outputs: said.outputs,
        link: said.link,
        multi_label: said.multi_label,
        values: said.values.clone(),
        survival: said.survival.clone(),
        probabilities: said.probabilities.clone(),
        offsets: said.offsets.clone(),
        scores_are: said.scores_are,
        of_bags: said.of_bags.clone(),
        ..Predictions::default()
    }
}

/// Forgets what is no mean of all members.
fn forget_instances(of: &mut Predictions) {
    of.scores = Vec::new();
    (of.attention, of.class_scores, of.class_attention) = (None, None, None);
    (of.of_instances, of.of_bags) = (Vec::new(), Vec::new());
}

fn add(sum: &mut [f32], more: &[f32]) {
    sum.iter_mut().zip(more).for_each(|(sum, more)| *sum += more);
}

/// Adds what both have in the same form, and forgets the rest.
fn add_instances(sum: &mut Predictions, more: &Predictions) {
    if sum.scores_are != more.scores_are || sum.outputs != more.outputs && sum.target.has_classes() {
        // Settings of one method may change what it says.
        return forget_instances(sum);
    }
    if sum.scores.len() == more.scores.len() {
        add(&mut sum.scores, &more.scores);
    }
    for (sum, more) in [
        (&mut sum.attention, &more.attention),
        (&mut sum.class_scores, &more.class_scores),
        (&mut sum.class_attention, &more.class_attention),
    ] {
        match (sum.as_mut(), more) {
            (Some(sum), Some(more)) if sum.len() == more.len() => add(sum, more),
            _ => *sum = None,
        }
    }
    add_told(&mut sum.of_bags, &more.of_bags);
    add_told(&mut sum.of_instances, &more.of_instances);
}

fn add_told(sum: &mut Vec<Told>, more: &[Told]) {
    sum.retain_mut(|sum| {
        let same = |more: &&Told| (&more.name, more.meaning, more.columns) == (&sum.name, sum.meaning, sum.columns);
        let Some(more) = more.iter().find(same).filter(|more| more.values.len() == sum.values.len()) else {
            return false;
        };
        add(&mut sum.values, &more.values);
        true
    });
}

/// Makes means of sums over so many members.
fn take_instances(mean: &mut Predictions, sum: Predictions, count: f32) {
    let divided = |mut values: Vec<f32>| {
        values.iter_mut().for_each(|v| *v /= count);
        values
    };
    let told = |all: Vec<Told>| all.into_iter().map(|t| Told { values: divided(t.values), ..t }).collect();
    mean.scores = divided(sum.scores);
    mean.attention = sum.attention.map(divided);
    mean.class_scores = sum.class_scores.map(divided);
    mean.class_attention = sum.class_attention.map(divided);
    (mean.of_bags, mean.of_instances) = (told(sum.of_bags), told(sum.of_instances));
}

/// Makes the one score of an instance that of the class which the mean finds most likely, where there is a score for each:
/// members may have found another. Of classes in an order it is a mean of all columns, for which nothing changes.
fn scores_of_the_class(mean: &mut Predictions) {
    if mean.target == Target::Ordered {
        return;
    }
    let most_likely = |bag: usize| {
        let p = |column: usize| mean.bag(bag)[mean.class_of_column(column)];
        (0..mean.outputs).fold(0, |best, column| if p(column) > p(best) { column } else { best })
    };
    let taken = |of: &Option<Vec<f32>>| {
        let of = of.as_ref()?;
        let mut all = Vec::with_capacity(mean.offsets[mean.len()]);
        for bag in 0..mean.len() {
            let class = most_likely(bag);
            all.extend((mean.offsets[bag]..mean.offsets[bag + 1]).map(|row| of[row * mean.outputs + class]));
        }
        Some(all)
    };
    let (scores, attention) = (taken(&mean.class_scores), taken(&mean.class_attention));
    if let Some(scores) = scores {
        mean.scores = scores;
    }
    if attention.is_some() {
        mean.attention = attention;
    }
}

/// The edges of all curves up to where the first of them ends.
fn common_edges(of: &[&[f32]]) -> Vec<f32> {
    let last = of.iter().filter_map(|edges| edges.last()).copied().fold(f32::INFINITY, f32::min);
    let mut all: Vec<f32> = of.iter().flat_map(|edges| edges.iter().copied()).filter(|edge| *edge <= last).collect();
    all.sort_unstable_by(f32::total_cmp);
    all.dedup();
    match all.len() {
        count if count > MOST_EDGES => (1..=MOST_EDGES).map(|k| all[k * count / MOST_EDGES - 1]).collect(),
        _ => all,
    }
}

/// Reads the survival curves of predictions at other edges, and the risk with them.
fn at_edges(of: &mut Predictions, edges: &[f32]) {
    let Target::Hazards(own) = &of.target else { return };
    if own.edges == edges {
        return;
    }
    let (mut survival, mut values) = (Vec::new(), Vec::new());
    for curve in of.survival.chunks_exact(own.edges.len() + 1) {
        let first = survival.len();
        survival.extend(edges.iter().map(|&edge| at(&own.edges, curve, edge)));
        // Of the end of time nobody knows when it is.
        survival.push(curve[own.edges.len()]);
        values.push(-survival[first..].iter().map(|&s| f64::from(s)).sum::<f64>() as f32);
    }
    let target = Target::Hazards(Hazards { edges: edges.to_vec(), alpha: own.alpha });
    (of.target, of.outputs, of.survival, of.values) = (target, edges.len() + 1, survival, values);
}

/// A survival curve at a time up to its last edge: 1 at time 0, linear between edges.
fn at(edges: &[f32], curve: &[f32], time: f32) -> f32 {
    let next = edges.partition_point(|&edge| edge < time);
    let (end, value) = (f64::from(edges[next]), f64::from(curve[next]));
    let (begin, before) = match next {
        0 => (0.0f64.min(end), 1.0),
        _ => (f64::from(edges[next - 1]), f64::from(curve[next - 1])),
    };
    let time = f64::from(time);
    if time >= end || end <= begin {
        return if time >= end { curve[next] } else { 1.0 };
    }
    let share = ((time - begin) / (end - begin)).max(0.0);
    (before + share * (value - before)) as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn curves_are_read_between_their_edges() {
        let (edges, curve) = ([2.0, 4.0], [0.8, 0.4, 0.1]);
        for (time, wanted) in [(0.0, 1.0), (1.0, 0.9), (2.0, 0.8), (3.0, 0.6), (4.0, 0.4)] {
            assert!((at(&edges, &curve, time) - wanted).abs() < 1e-6, "{time}");
        }
        // No time is known before an edge at 0 or below.
        assert_eq!([-2.0, -1.0].map(|time| at(&[-1.0, 1.0], &[0.9, 0.5, 0.1], time)), [1.0, 0.9]);
        assert_eq!(at(&[0.0, 1.0], &[0.9, 0.5, 0.1], 0.0), 0.9);
        assert_eq!(common_edges(&[&[1.0, 3.0], &[2.0, 2.5], &[1.0, 9.0]]), [1.0, 2.0, 2.5]);
        let many: Vec<f32> = (0..1000).map(|n| n as f32).collect();
        let few = common_edges(&[&many]);
        assert_eq!((few.len(), few[254]), (255, 999.0));
        assert!(few.windows(2).all(|pair| pair[0] < pair[1]));
    }

    #[test]
    fn mean_and_deviation_are_those_of_the_definition() {
        let (mean, deviation) = moments(&[&[1.0, 0.5], &[2.0, 0.5], &[6.0, 0.5]]);
        assert_eq!((mean[0], deviation[0]), (3.0, 7.0f32.sqrt()));
        assert_eq!((mean[1], deviation[1]), (0.5, 0.0));
    }
}
