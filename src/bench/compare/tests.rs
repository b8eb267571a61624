//! Runs drawn from a noisy machine, so that no clock decides whether a test passes.

use super::*;
use crate::bench::run::How;

/// Times of a machine as shared ones are: each run has a speed of its own, which wanders from round to round for all
/// kernels alike; each kernel wanders by itself too (where its memory lies, what the cache holds); samples spread, and one
/// of twenty waits for somebody else.
struct Machine {
    random: Random,
    rounds: usize,
    repeats: usize,
}

impl Machine {
    fn new(seed: u64) -> Self {
        Self { random: Random::new(seed, 77), rounds: 10, repeats: 3 }
    }

    fn run(&mut self, kernels: usize, slowed: impl Fn(usize) -> f64) -> Run {
        let mut cases: Vec<Timed> = (0..kernels).map(|n| named(&format!("k{n}"))).collect();
        let own: Vec<f64> = (0..kernels).map(|_| 0.01 * self.random.normal()).collect();
        let (mut shared, mut wanders) = (0.015 * self.random.normal(), vec![0.0; kernels]);
        for _ in 0..self.rounds {
            shared = 0.8 * shared + 0.015 * self.random.normal();
            for (n, case) in cases.iter_mut().enumerate() {
                wanders[n] = 0.5 * wanders[n] + 0.01 * self.random.normal();
                let speed = (own[n] + shared + wanders[n]).exp() * slowed(n) * 100.0 * (n + 1) as f64;
                let sample = |random: &mut Random| {
                    let waits = if random.uniform() < 0.05 { 2.0 * random.uniform() } else { 0.0 };
                    speed * ((0.02 * random.normal()).exp() + waits)
                };
                let samples = (0..self.repeats).map(|_| sample(&mut self.random)).collect();
                case.push(speed, samples);
            }
        }
        cases.iter_mut().for_each(Timed::sum_up);
        Run { cases, ..Run::default() }
    }
}

fn named(kernel: &str) -> Timed {
    Timed { kernel: kernel.into(), shape: "1".into(), ..Timed::default() }
}

const QUICK: Rule = Rule { effect: 0.05, resamples: 600 };

#[test]
fn equal_programs_stay_quiet() {
    let (mut alarms, mut covered, mut all) = (0, 0, 0);
    const PAIRS: usize = 60;
    for seed in 0..PAIRS as u64 {
        let mut machine = Machine::new(seed);
        let (a, b) = (machine.run(20, |_| 1.0), machine.run(20, |_| 1.0));
        let found = Comparison::of(&a, &b, QUICK);
        alarms += usize::from(found.with(Verdict::Slower).chain(found.with(Verdict::Faster)).next().is_some());
        let holds = |r: &&Ratio| r.interval.is_some_and(|[low, high]| low - 0.05 < 1.0 && 1.0 < high + 0.05);
        covered += found.ratios.iter().filter(holds).count();
        all += found.ratios.len();
    }
    assert!(alarms <= 1, "{alarms} of {PAIRS} pairs of equal programs were called different");
    assert!(covered as f64 > 0.995 * all as f64, "{covered} of {all} intervals have 1 within the effect");
}

#[test]
fn a_slowed_kernel_is_found_and_no_other() {
    let (mut found, mut others) = (0, 0);
    for seed in 100..140 {
        let mut machine = Machine::new(seed);
        let (a, b) = (machine.run(20, |_| 1.0), machine.run(20, |n| if n == 7 { 1.3 } else { 1.0 }));
        let comparison = Comparison::of(&a, &b, QUICK);
        let slower: Vec<String> = comparison.with(Verdict::Slower).map(|r| r.kernel.clone()).collect();
        found += usize::from(slower.contains(&"k7".into()));
        others += slower.iter().filter(|k| *k != "k7").count();
        // The other way round it is faster.
        let back = Comparison::of(&b, &a, QUICK);
        found += usize::from(back.with(Verdict::Faster).any(|r| r.kernel == "k7"));
    }
    // A machine as restless as this hides some.
    assert!(found >= 68 && others <= 1, "{found} of 80 found, {others} others");
}

#[test]
fn what_is_smaller_than_the_effect_is_no_verdict() {
    // Without noise the interval is a point.
    let run = |us: f64| {
        let mut case = named("k");
        (0..6).for_each(|_| case.push(us, vec![us; 3]));
        case.sum_up();
        Run { cases: vec![case], ..Run::default() }
    };
    let verdict = |after: f64| Comparison::of(&run(100.0), &run(after), Rule::default()).ratios[0].verdict;
    assert_eq!(
        [104.9, 105.1, 95.3, 95.1].map(verdict),
        [Verdict::Same, Verdict::Slower, Verdict::Same, Verdict::Faster]
    );
}

#[test]
fn few_rounds_and_clocks_that_stand_still_have_no_verdict() {
    let mut machine = Machine { rounds: 4, ..Machine::new(1) };
    let found = Comparison::of(&machine.run(2, |_| 1.0), &machine.run(2, |_| 9.0), QUICK);
    assert!(found.ratios.iter().all(|r| r.verdict == Verdict::Unknown && r.interval.is_none() && r.ratio > 8.0));
    let mut machine = Machine::new(2);
    let (a, mut b) = (machine.run(1, |_| 1.0), machine.run(1, |_| 1.0));
    b.cases[0].samples_us[3].fill(0.0);
    assert_eq!(Comparison::of(&a, &b, QUICK).ratios[0].verdict, Verdict::Unknown);
}

#[test]
fn what_is_in_one_run_alone_and_what_differs_is_told() {
    let mut machine = Machine::new(3);
    let (mut a, mut b) = (machine.run(3, |_| 1.0), machine.run(3, |_| 1.0));
    a.cases.remove(0);
    b.cases[2].shape = "2".into();
    a.device.driver = "Mesa 1".into();
    b.device.driver = "Mesa 2".into();
    b.device.checked = true;
    b.how = How { clock: "host".into(), ..How::default() };
    let found = Comparison::of(&a, &b, QUICK);
    assert_eq!((found.gone, found.new), (vec!["k2 1".to_owned()], vec!["k0 1".to_owned(), "k2 2".to_owned()]));
    assert_eq!(found.ratios.len(), 1);
    let told = found.notes.join("\n");
    assert!(told.contains("driver: Mesa 1, then Mesa 2") && told.contains("build: unchecked, then checked"), "{told}");
    assert!(told.contains("clock: , then host") && found.devices.is_none(), "{told}");
    b.device.name = "another".into();
    b.device.description = "another".into();
    assert!(Comparison::of(&a, &b, QUICK).devices.unwrap().contains("another"));
}

#[test]
fn the_speed_of_all_together_is_told() {
    let mut machine = Machine::new(4);
    let found = Comparison::of(&machine.run(9, |_| 1.0), &machine.run(9, |_| 1.2), QUICK);
    assert!((found.together.unwrap() - 1.2).abs() < 0.1);
}

/// Quantiles of Student's t from tables.
#[test]
fn tails_are_those_of_tables() {
    for (tail, freedom, wanted) in [(0.025, 9.0, 2.262), (0.025, 5.0, 2.571), (0.005, 9.0, 3.250), (0.025, 30.0, 2.042)]
    {
        assert!((student(tail, freedom) - wanted).abs() < 0.01, "{tail} {freedom}: {}", student(tail, freedom));
    }
}
