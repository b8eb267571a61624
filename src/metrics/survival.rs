//! Measures of predicted risks beside the times of events. A bag whose time is NaN is left out.

use super::Metric;
use crate::error::{Error, Result};
use crate::normal::{TWO_SIDED_95, two_sided};
use serde::{Deserialize, Serialize};

/// How well risks were predicted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SurvivalScores {
    /// Bags whose time is known.
    pub bags: usize,
    /// Events among them; the others are censored.
    pub events: usize,
    /// Harrell's concordance index ([`c_index`]).
    pub c_index: Option<f64>,
}

impl SurvivalScores {
    /// Scores risks, higher for earlier events, against times and events.
    ///
    /// # Errors
    /// [`Error::Shape`] when there is not one for each.
    ///
    /// ```
    /// # use bagrad::metrics::SurvivalScores;
    /// let scores = SurvivalScores::new(&[3.0, 2.0, 1.0], &[10.0, 20.0, 15.0], &[true, true, false])?;
    /// assert_eq!((scores.events, scores.c_index), (2, Some(1.0)));
    /// # Ok::<(), bagrad::Error>(())
    /// ```
    pub fn new(risks: &[f32], times: &[f32], events: &[bool]) -> Result<Self> {
        if risks.len() != times.len() || events.len() != times.len() {
            return Err(Error::Shape {
                operation: "scores of survival",
                expected: format!("a risk and an event for each of {} times", times.len()),
                found: format!("{} risks and {} events", risks.len(), events.len()),
            });
        }
        let known = || times.iter().zip(events).filter(|(time, _)| !time.is_nan());
        Ok(Self {
            bags: known().count(),
            events: known().filter(|(_, event)| **event).count(),
            c_index: c_index(risks, times, events),
        })
    }

    /// The value of `metric`, where it is one of survival.
    pub fn get(&self, metric: Metric) -> Option<f64> {
        if metric == Metric::CIndex { self.c_index } else { None }
    }
}

/// Harrell's concordance index: the share of comparable pairs in which the bag with the earlier event has the higher risk;
/// equal risks count half. A pair is comparable when the earlier time is that of an event, or when of equal times one is
/// an event and the other censored; two events at one time are not. `None` without such a pair, or where a risk is not
/// finite.
pub fn c_index(risks: &[f32], times: &[f32], events: &[bool]) -> Option<f64> {
    concordance(risks, times, events, |_| 1.0)
}

/// Uno's concordance index (Uno and others 2011): as [`c_index`], each pair weighted by 1 / G(t)^2 at the time t of its event,
/// G the probability of not being censored before t, by Kaplan and Meier on `[times, events]` of `training` bags. It does
/// not depend on how many were censored when. Events after `until` count nothing. `None` also where G is 0 at an event.
pub fn c_index_uno(
    risks: &[f32],
    (times, events): (&[f32], &[bool]),
    training: (&[f32], &[bool]),
    until: Option<f32>,
) -> Option<f64> {
    let censoring = Censoring::of(training.0, training.1);
    let undefined = std::cell::Cell::new(false);
    let weight = |time: f32| {
        if until.is_some_and(|until| time >= until) {
            return 0.0;
        }
        let left = censoring.at(time);
        undefined.set(undefined.get() || left == 0.0);
        left.powi(-2)
    };
    let found = concordance(risks, times, events, weight);
    found.filter(|_| !undefined.get())
}

fn concordance(risks: &[f32], times: &[f32], events: &[bool], weight: impl Fn(f32) -> f64) -> Option<f64> {
    if risks.iter().zip(times).any(|(risk, time)| !risk.is_finite() && !time.is_nan()) {
        return None;
    }
    let (mut right, mut all) = (0.0, 0.0);
    for i in (0..times.len()).filter(|&i| events[i] && !times[i].is_nan()) {
        let (mut won, mut pairs) = (0.0, 0u64);
        for j in 0..times.len() {
            if times[i] < times[j] || (times[i] == times[j] && !events[j]) {
                pairs += 1;
                won += if risks[i] > risks[j] { 1.0 } else { f64::from(u8::from(risks[i] == risks[j])) / 2.0 };
            }
        }
        if pairs > 0 {
            let weight = weight(times[i]);
            (right, all) = (right + weight * won, all + weight * pairs as f64);
        }
    }
    (all > 0.0).then(|| right / all)
}

/// The AUC at a time (cumulative cases, dynamic controls; Uno and others 2007): of those whose event came until `at`, weighted
/// by 1 / G at their times, against those who were still without at `at`. `None` without one of either.
pub fn auc_at(risks: &[f32], (times, events): (&[f32], &[bool]), training: (&[f32], &[bool]), at: f32) -> Option<f64> {
    let censoring = Censoring::of(training.0, training.1);
    let controls: Vec<f32> = risks.iter().zip(times).filter(|(_, time)| **time > at).map(|(risk, _)| *risk).collect();
    let (mut right, mut all) = (0.0, 0.0);
    for i in (0..times.len()).filter(|&i| events[i] && times[i] <= at) {
        let weight = 1.0 / censoring.at(times[i]);
        let won = |c: &f32| if risks[i] > *c { 1.0 } else { f64::from(u8::from(risks[i] == *c)) / 2.0 };
        right += weight * controls.iter().map(won).sum::<f64>();
        all += weight * controls.len() as f64;
    }
    (all > 0.0 && all.is_finite() && risks.iter().all(|r| r.is_finite())).then(|| right / all)
}

/// The probability of not being censored until a time.
pub(super) struct Censoring(Vec<Step>);

impl Censoring {
    pub fn of(times: &[f32], events: &[bool]) -> Self {
        // Of an event and a censoring at one time the event came first.
        let all = sorted(times, events);
        let mut left = 1.0;
        let mut steps = Vec::new();
        let mut risk = all.len();
        for same in all.chunk_by(|a, b| a.0 == b.0) {
            let came = same.iter().filter(|(_, event)| *event).count();
            let censored = same.len() - came;
            if censored > 0 {
                left *= 1.0 - censored as f64 / (risk - came) as f64;
                steps.push(Step {
                    time: same[0].0,
                    at_risk: risk - came,
                    events: censored,
                    survival: left,
                    variance: 0.0,
                });
            }
            risk -= same.len();
        }
        Self(steps)
    }

    pub fn at(&self, time: f32) -> f64 {
        let passed = self.0.partition_point(|step| step.time <= time);
        passed.checked_sub(1).map_or(1.0, |last| self.0[last].survival)
    }
}

fn sorted(times: &[f32], events: &[bool]) -> Vec<(f32, bool)> {
    let mut all: Vec<(f32, bool)> = times.iter().copied().zip(events.iter().copied()).collect();
    all.retain(|(time, _)| !time.is_nan());
    all.sort_by(|a, b| a.0.total_cmp(&b.0));
    all
}

/// A step of a Kaplan-Meier curve.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Step {
    /// When.
    pub time: f32,
    /// Bags that were under observation until then.
    pub at_risk: usize,
    /// Events at that time.
    pub events: usize,
    /// Share that has no event until then and at it.
    pub survival: f64,
    /// Greenwood's sum of events / (at risk (at risk - events)) so far.
    #[serde(skip)]
    variance: f64,
}

impl Step {
    /// The 95 % interval of the share, by the variance of ln(-ln S) (Kalbfleisch and Prentice); `None` at 1 and 0.
    pub fn interval(&self) -> Option<[f64; 2]> {
        let s = self.survival;
        (s > 0.0 && s < 1.0).then(|| {
            let (hazard, spread) = ((-s.ln()).ln(), TWO_SIDED_95 * self.variance.sqrt() / s.ln().abs());
            [hazard + spread, hazard - spread].map(|v| (-v.exp()).exp())
        })
    }
}

/// The Kaplan-Meier curve: a step at each time with an event.
pub fn kaplan_meier(times: &[f32], events: &[bool]) -> Vec<Step> {
    let all = sorted(times, events);
    let (mut at_risk, mut survival, mut variance) = (all.len(), 1.0, 0.0);
    let mut steps = Vec::new();
    for same in all.chunk_by(|a, b| a.0 == b.0) {
        let came = same.iter().filter(|(_, event)| *event).count();
        if came > 0 {
            survival *= 1.0 - came as f64 / at_risk as f64;
            variance += came as f64 / (at_risk * (at_risk - came)) as f64;
            steps.push(Step { time: same[0].0, at_risk, events: came, survival, variance });
        }
        at_risk -= same.len();
    }
    steps
}

/// The log-rank test of two groups: chi-squared with one degree of freedom, and its p-value. `None` where no event tells
/// them apart.
pub fn log_rank(times: &[f32], events: &[bool], second: &[bool]) -> Option<(f64, f64)> {
    let known: Vec<usize> = (0..times.len()).filter(|&i| !times[i].is_nan()).collect();
    let mut order = known.clone();
    order.sort_by(|&a, &b| times[a].total_cmp(&times[b]));
    let (mut at_risk, mut of_second) = (known.len(), known.iter().filter(|&&i| second[i]).count());
    let (mut more, mut variance) = (0.0, 0.0);
    for same in order.chunk_by(|&a, &b| times[a] == times[b]) {
        let came = same.iter().filter(|&&i| events[i]).count() as f64;
        let came_second = same.iter().filter(|&&i| events[i] && second[i]).count() as f64;
        let (n, share) = (at_risk as f64, of_second as f64 / at_risk as f64);
        more += came_second - came * share;
        if at_risk > 1 {
            variance += came * share * (1.0 - share) * (n - came) / (n - 1.0);
        }
        at_risk -= same.len();
        of_second -= same.iter().filter(|&&i| second[i]).count();
    }
    (variance > 0.0).then(|| {
        let statistic = more * more / variance;
        (statistic, two_sided(statistic.sqrt()))
    })
}

/// The negative log of the Cox partial likelihood of log-risks, divided by its events, over all bags at once; 0 without
/// events.
pub fn cox_loss(risks: &[f32], times: &[f32], events: &[bool], efron: bool) -> f64 {
    let mut order: Vec<usize> = (0..times.len()).filter(|&i| !times[i].is_nan()).collect();
    order.sort_by(|&a, &b| times[b].total_cmp(&times[a]));
    let x = |i: usize| f64::from(risks[i]);
    // Relative to the largest so far, of those at risk.
    let (mut largest, mut sum) = (f64::NEG_INFINITY, 0.0);
    let (mut loss, mut count) = (0.0, 0usize);
    for same in order.chunk_by(|&a, &b| times[a] == times[b]) {
        let top = same.iter().map(|&i| x(i)).fold(largest, f64::max);
        sum *= (largest - top).exp();
        largest = top;
        let of = |all: &mut dyn Iterator<Item = usize>| all.map(|i| (x(i) - top).exp()).sum::<f64>();
        let tied: Vec<usize> = same.iter().copied().filter(|&i| events[i]).collect();
        let others = of(&mut same.iter().copied().filter(|&i| !events[i]));
        let of_tied = of(&mut tied.iter().copied());
        for (place, &i) in tied.iter().enumerate() {
            let share = if efron { place as f64 / tied.len() as f64 } else { 0.0 };
            loss += top + (sum + others + (1.0 - share) * of_tied).ln() - x(i);
        }
        count += tied.len();
        sum += others + of_tied;
    }
    loss / count.max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::NumberScores;
    use serde_json::Value;

    fn close(what: &str, found: Option<f64>, wanted: &Value) {
        let wanted = wanted.as_f64();
        let close = found.zip(wanted).map_or(found == wanted, |(a, b)| (a - b).abs() <= 1e-9 * b.abs().max(1.0));
        assert!(close, "{what}: {found:?}, {wanted:?}");
    }

    fn floats(of: &Value) -> Vec<f32> {
        of.as_array().unwrap().iter().map(|v| v.as_f64().unwrap() as f32).collect()
    }

    fn file() -> Value {
        serde_json::from_str(include_str!("../../tests/metrics/survival.json")).unwrap()
    }

    /// Against scikit-survival and lifelines (`tools/make_fixtures_survival.py`).
    #[test]
    fn scores_of_survival_are_those_of_other_programs() {
        let file = file();
        let cases = file["survival"].as_array().unwrap();
        assert!(cases.len() >= 9);
        for (n, case) in cases.iter().enumerate() {
            let (risks, times) = (floats(&case["risks"]), floats(&case["times"]));
            let events: Vec<bool> = floats(&case["events"]).iter().map(|&e| e == 1.0).collect();
            let (wanted, data) = (&case["scores"], (&times[..], &events[..]));
            let until = wanted["until"].as_f64().unwrap() as f32;
            close(&format!("{n}, Harrell"), c_index(&risks, &times, &events), &wanted["c_index"]);
            close(&format!("{n}, Uno"), c_index_uno(&risks, data, data, None), &wanted["c_index_uno"]);
            let some = c_index_uno(&risks, data, data, Some(until));
            close(&format!("{n}, Uno until {until}"), some, &wanted["c_index_uno_until"]);
            close(&format!("{n}, AUC at {until}"), auc_at(&risks, data, data, until), &wanted["auc_at"]);
            for (rule, efron) in [("efron", true), ("breslow", false)] {
                close(&format!("{n}, {rule}"), Some(cox_loss(&risks, &times, &events, efron)), &wanted[rule]);
            }
            let mut sorted = risks.clone();
            sorted.sort_by(f32::total_cmp);
            let median = (sorted[(sorted.len() - 1) / 2] + sorted[sorted.len() / 2]) / 2.0;
            let high: Vec<bool> = risks.iter().map(|&risk| risk >= median).collect();
            let test = log_rank(&times, &events, &high);
            close(&format!("{n}, log-rank"), test.map(|t| t.0), &wanted["log_rank"]);
            close(&format!("{n}, its p"), test.map(|t| t.1), &wanted["log_rank_p"]);
            let (steps, curve) = (kaplan_meier(&times, &events), wanted["kaplan_meier"].as_array().unwrap());
            assert_eq!(steps.len(), curve.len());
            for (step, wanted) in steps.iter().zip(curve) {
                let counts = [wanted[1].as_u64().unwrap() as usize, wanted[2].as_u64().unwrap() as usize];
                assert_eq!((f64::from(step.time), [step.at_risk, step.events]), (wanted[0].as_f64().unwrap(), counts));
                // Of nobody left it would be 0 or rounding.
                let gone = step.at_risk == step.events;
                assert!(if gone { step.survival < 1e-12 } else { true });
                if !gone {
                    close(&format!("{n}, S({})", step.time), Some(step.survival), &wanted[3]);
                    close(&format!("{n}, low"), step.interval().map(|i| i[0]), &wanted[4]);
                    close(&format!("{n}, high"), step.interval().map(|i| i[1]), &wanted[5]);
                }
            }
        }
        let numbers = file["numbers"].as_array().unwrap();
        assert!(numbers.len() >= 5);
        for (n, case) in numbers.iter().enumerate() {
            let scores = NumberScores::new(&floats(&case["predicted"]), &floats(&case["truth"])).unwrap();
            let found = [
                ("r2", scores.r2),
                ("mae", scores.mae),
                ("rmse", scores.rmse),
                ("pearson", scores.pearson),
                ("spearman", scores.spearman),
            ];
            found.iter().for_each(|(name, found)| close(&format!("{n}, {name}"), *found, &case["scores"][name]));
        }
    }

    #[test]
    fn what_is_not_defined_is_none() {
        // Two events at one time tell nothing of each other; an event and a censored bag do.
        assert_eq!(c_index(&[1.0, 2.0], &[5.0, 5.0], &[true, true]), None);
        assert_eq!(c_index(&[1.0, 2.0], &[5.0, 5.0], &[true, false]), Some(0.0));
        assert_eq!(c_index(&[1.0, 1.0, 9.0], &[5.0, 6.0, f32::NAN], &[true, false, true]), Some(0.5));
        assert_eq!(c_index(&[f32::NAN, 2.0], &[5.0, 6.0], &[true, true]), None);
        assert_eq!(log_rank(&[1.0, 2.0], &[true, true], &[true, true]), None);
        assert!(kaplan_meier(&[], &[]).is_empty());
        assert_eq!(cox_loss(&[1.0], &[1.0], &[false], true), 0.0);
        // Nobody is observed long enough to weight the last event.
        let (times, events) = ([1.0, 2.0, 3.0], [true, false, true]);
        assert_eq!(c_index_uno(&[3.0, 2.0, 1.0], (&times, &events), (&[1.0, 2.0], &[true, false]), None), Some(1.0));
        assert!(SurvivalScores::new(&[1.0], &[1.0, 2.0], &[true, true]).is_err());
        // Far apart risks stay finite.
        let far = cox_loss(&[0.0, -120.0, -121.0], &[1.0, 2.0, 3.0], &[true; 3], true);
        assert!((far - (1.0 + (-1.0f64).exp()).ln() / 3.0).abs() < 1e-12, "{far}");
    }
}
