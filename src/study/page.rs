//! Results as a page that needs nothing else.

use super::Kind;
use super::results::{Results, Row};
use super::tables::{probability, range, three};
use crate::report::{Curve, Forest, ForestRow, Report, Series, Table};

/// Methods with curves of their own, at most: as many as there are colours.
const CURVES: usize = 8;

impl Results {
    /// A page with intervals as a chart, tables, ROC curves and calibration.
    pub fn report(&self) -> Report {
        Report {
            title: format!("Cross-validation on {}", self.data),
            summary: self.summary(),
            facts: self.facts(),
            forests: vec![self.forest(), self.against()],
            notes: vec![self.notes()],
            tables: [vec![self.scores()], vec![self.pairs_table()], self.choices()].concat(),
            charts: self.charts(),
            ..Report::default()
        }
    }

    fn facts(&self) -> Vec<(String, String)> {
        let fact = |name: &str, value: String| (name.to_owned(), value);
        let mut all = vec![
            fact("Bags", self.bags.to_string()),
            fact("Fits of a method", (self.repeats * self.folds * self.seeds as usize).to_string()),
            fact("Device", self.device.clone()),
        ];
        match self.bags_have {
            Kind::Classes => all.push(fact("Classes", self.classes.join(", "))),
            Kind::LabelSets => all.push(fact("Labels", self.classes.join(", "))),
            Kind::Numbers | Kind::Survival => {}
        }
        all.extend(self.groups.map(|groups| fact("Groups", groups.to_string())));
        all.extend(self.sites.map(|sites| fact("Sites", sites.to_string())));
        all
    }

    /// The score of each method, with its fits.
    fn forest(&self) -> Forest {
        let row = |row: &Row| ForestRow {
            name: row.name.clone(),
            value: row.value,
            interval: row.interval,
            dots: row.of_fits.iter().copied().flatten().collect(),
            soft: row.baseline,
        };
        Forest {
            title: format!("{} with 95 % intervals; dots are single fits", self.bags_have.title()),
            along: self.value_told(),
            rows: self.methods.iter().map(row).collect(),
            reference: Some(self.bags_have.of_nothing()),
        }
    }

    /// How much the methods are above the baseline that is best.
    fn against(&self) -> Forest {
        let best = self.methods.iter().find(|row| row.baseline).map_or("", |row| row.name.as_str());
        let row = |row: &Row| {
            let against = row.against.iter().find(|against| against.baseline == best)?;
            let (value, interval) = (Some(against.difference), Some(against.interval));
            Some(ForestRow { name: row.name.clone(), value, interval, dots: Vec::new(), soft: !against.beats })
        };
        Forest {
            title: format!("{} than {best}, on the same samples", self.more_told()),
            along: self.more_told(),
            rows: self.methods.iter().filter_map(row).collect(),
            reference: Some(0.0),
        }
    }

    fn scores(&self) -> Table {
        let delong = self.no_delong.is_none();
        let mut head = vec!["method".to_owned(), self.value_told(), "95 %".to_owned()];
        head.extend(self.analytic("95 %"));
        head.extend(self.has_baselines().then(|| "against the baselines".to_owned()));
        head.extend(self.on_page().iter().map(|name| name.replace('_', " ")));
        let row = |row: &Row| {
            let mut cells = vec![row.name.clone(), three(row.value), range(row.interval)];
            cells.extend(delong.then(|| range(row.delong)));
            cells.extend(self.has_baselines().then(|| row.verdict()));
            cells.extend(self.on_page().iter().map(|name| row.cell(name)));
            cells
        };
        Table { title: "Methods".into(), head, rows: self.methods.iter().map(row).collect() }
    }

    fn pairs_table(&self) -> Table {
        let delong = self.no_delong.is_none();
        let mut head = ["better", "worse", &self.more_told(), "95 %", "p"].map(str::to_owned).to_vec();
        head.extend(self.analytic("p"));
        let row = |pair: &super::results::Pair| {
            let mut cells = vec![pair.better.clone(), pair.worse.clone(), three(Some(pair.difference))];
            cells.extend([range(Some(pair.interval)), three(Some(pair.p))]);
            cells.extend(delong.then(|| three(pair.delong.map(|of| of.p))));
            cells
        };
        Table {
            title: "Pairs, p not corrected for their number".into(),
            head,
            rows: self.pairs.iter().map(row).collect(),
        }
    }

    /// What searches chose.
    fn choices(&self) -> Vec<Table> {
        let table = |row: &Row| {
            let search = row.search.as_ref()?;
            let head =
                ["settings".to_owned(), "chosen in".to_owned(), format!("mean {} on validation bags", search.metric)];
            let of = |of: &super::chosen::OfCandidate| {
                vec![of.settings.clone(), format!("{} of {}", of.chosen, search.fits.len()), three(of.mean)]
            };
            let rows = search.candidates.iter().map(of).collect();
            Some(Table { title: format!("Settings of {}", row.name), head: head.to_vec(), rows })
        };
        self.methods.iter().filter_map(table).collect()
    }

    /// Columns of the table of scores.
    fn on_page(&self) -> Vec<&'static str> {
        match self.bags_have {
            Kind::Classes => self.with_others(&["auc", "balanced_accuracy", "log_loss", "ece"]),
            _ => self.shown(),
        }
    }

    fn charts(&self) -> Vec<(String, Vec<Curve>)> {
        match self.bags_have {
            Kind::Classes => vec![("ROC and calibration".to_owned(), vec![self.roc(), self.reliability()])],
            Kind::Survival => vec![("Survival by the predicted risk".to_owned(), self.survival())],
            Kind::LabelSets | Kind::Numbers => Vec::new(),
        }
    }

    /// Kaplan-Meier curves of the bags of higher and of lower risk, of the first methods.
    fn survival(&self) -> Vec<Curve> {
        const SHOWN: usize = 4;
        let curve = |row: &Row| {
            let halves = row.halves.as_ref()?;
            let series = ["lower risk", "higher risk"]
                .iter()
                .zip(&halves.curves)
                .map(|(name, steps)| Series::survival((*name).to_owned(), steps, None));
            Some(Curve {
                title: format!("{}: log-rank p {}", row.name, probability(Some(halves.p))),
                unit: "without an event".into(),
                along: "time".into(),
                series: series.collect(),
                ..Curve::default()
            })
        };
        self.methods.iter().filter_map(curve).take(SHOWN).collect()
    }

    fn roc(&self) -> Curve {
        let series = |row: &Row| Series { name: row.name.clone(), points: row.roc.clone(), ..Series::default() };
        let drawn = self.methods.iter().filter(|row| row.roc.len() > 2);
        Curve {
            title: "ROC curves of the predictions of all fits together".into(),
            unit: "true positive rate".into(),
            along: "false positive rate".into(),
            series: drawn.take(CURVES).map(series).collect(),
            diagonal: true,
            ..Curve::default()
        }
    }

    fn reliability(&self) -> Curve {
        let series = |row: &Row| {
            let bins = &row.calibration.as_ref()?.bins;
            Some(Series {
                name: row.name.clone(),
                points: bins.iter().map(|bin| (bin.said, bin.found)).collect(),
                ..Series::default()
            })
        };
        Curve {
            title: match &self.classes[..] {
                [_, positive] => format!("Calibration: bags of class {positive} among those that were said to be"),
                _ => "Calibration: right ones among bags by the probability of their class".into(),
            },
            unit: "found".into(),
            along: "said".into(),
            series: self.methods.iter().filter_map(series).take(CURVES).collect(),
            diagonal: true,
            ..Curve::default()
        }
    }
}
