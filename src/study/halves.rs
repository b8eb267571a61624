//! Survival of the bags that a method says are in danger beside that of the others.

use super::fit::HALF;
use super::pools::Fits;
use crate::bag::Bags;
use crate::metrics::{Step, kaplan_meier, log_rank};
use crate::reproduce::runs::Line;
use crate::responses::Responses;
use serde::Serialize;

/// Two halves of the bags of one division, by the risks that the fits of its first seed said: above the median of the
/// validation bags of the fit that tells of a bag, and not. No bag has a say in where its own line is drawn.
#[derive(Clone, Debug, Serialize)]
pub struct Halves {
    /// Bags of the lower and of the higher risk.
    pub bags: [usize; 2],
    /// Events among them.
    pub events: [usize; 2],
    /// Chi-squared of the log-rank test, with one degree of freedom.
    pub chi_squared: f64,
    /// Its p, which takes bags for independent.
    pub p: f64,
    /// Kaplan-Meier curves of both.
    pub curves: [Vec<Step>; 2],
}

impl Halves {
    /// `None` for what is no survival, and where one half is empty or has nothing that tells them apart.
    pub(super) fn of(fits: &Fits, bags: &Bags) -> Option<Self> {
        let Some(Responses::Survival { times, events }) = &bags.responses else { return None };
        let said = |([repeat, _, seed], line): ([usize; 3], &Line)| {
            let line = (repeat == 0 && seed == 1).then_some(line)?;
            let half = *line.metrics.get(HALF)?;
            let high = |of: &crate::reproduce::Predicted| Some((of.bag, f64::from(of.value?) > half));
            Some(line.bags.iter().filter_map(high).collect::<Vec<_>>())
        };
        let all: Vec<(usize, bool)> = fits.placed().into_iter().filter_map(said).flatten().collect();
        let times: Vec<f32> = all.iter().map(|&(bag, _)| times[bag]).collect();
        let events: Vec<bool> = all.iter().map(|&(bag, _)| events[bag]).collect();
        let high: Vec<bool> = all.iter().map(|&(_, high)| high).collect();
        let (chi_squared, p) = log_rank(&times, &events, &high)?;
        let of = |wanted: bool| -> (Vec<f32>, Vec<bool>) {
            let both = times.iter().zip(&events).zip(&high).filter(|(_, high)| **high == wanted);
            both.map(|((time, event), _)| (*time, *event)).unzip()
        };
        let halves = [of(false), of(true)];
        let count = |events: &[bool]| events.iter().filter(|event| **event).count();
        Some(Self {
            bags: halves.each_ref().map(|(times, _)| times.len()),
            events: halves.each_ref().map(|(_, events)| count(events)),
            chi_squared,
            p,
            curves: halves.map(|(times, events)| kaplan_meier(&times, &events)),
        })
    }
}
