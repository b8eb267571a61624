//! Results as a page that needs nothing else.

use super::results::{Results, Row};
use super::tables::{range, three};
use crate::report::{Curve, Forest, ForestRow, Report, Series, Table};

/// Methods with curves of their own, at most: as many as there are colours.
const CURVES: usize = 8;
/// Columns of the table of scores.
const SCORES: [&str; 4] = ["auc", "balanced_accuracy", "log_loss", "ece"];

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
            charts: vec![("ROC and calibration".to_owned(), vec![self.roc(), self.reliability()])],
            ..Report::default()
        }
    }

    fn facts(&self) -> Vec<(String, String)> {
        let fact = |name: &str, value: String| (name.to_owned(), value);
        let mut all = vec![
            fact("Bags", self.bags.to_string()),
            fact("Classes", self.classes.join(", ")),
            fact("Fits of a method", (self.repeats * self.folds * self.seeds as usize).to_string()),
            fact("Device", self.device.clone()),
        ];
        all.extend(self.groups.map(|groups| fact("Groups", groups.to_string())));
        all.extend(self.sites.map(|sites| fact("Sites", sites.to_string())));
        all
    }

    /// The AUC of each method, with its fits.
    fn forest(&self) -> Forest {
        let row = |row: &Row| ForestRow {
            name: row.name.clone(),
            value: row.auc,
            interval: row.auc_interval,
            dots: row.auc_of_fits.iter().copied().flatten().collect(),
            soft: row.baseline,
        };
        Forest {
            title: "AUC with 95 % intervals; dots are single fits".into(),
            along: self.auc_told().into(),
            rows: self.methods.iter().map(row).collect(),
            reference: Some(0.5),
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
            title: format!("AUC more than {best}, on the same samples"),
            along: "AUC more".into(),
            rows: self.methods.iter().filter_map(row).collect(),
            reference: Some(0.0),
        }
    }

    fn scores(&self) -> Table {
        let delong = self.no_delong.is_none();
        let mut head = vec!["method".to_owned(), self.auc_told().to_owned(), "95 %".to_owned()];
        head.extend(delong.then(|| "95 %, DeLong".to_owned()));
        head.extend(self.has_baselines().then(|| "against the baselines".to_owned()));
        head.extend(SCORES.map(|name| name.replace('_', " ")));
        let row = |row: &Row| {
            let mut cells = vec![row.name.clone(), three(row.auc), range(row.auc_interval)];
            cells.extend(delong.then(|| range(row.auc_delong)));
            cells.extend(self.has_baselines().then(|| row.verdict()));
            cells.extend(SCORES.map(|name| row.cell(name)));
            cells
        };
        Table { title: "Methods".into(), head, rows: self.methods.iter().map(row).collect() }
    }

    fn pairs_table(&self) -> Table {
        let delong = self.no_delong.is_none();
        let mut head = ["better", "worse", "AUC more", "95 %", "p"].map(str::to_owned).to_vec();
        head.extend(delong.then(|| "p, DeLong".to_owned()));
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

    fn roc(&self) -> Curve {
        let series = |row: &Row| Series { name: row.name.clone(), points: row.roc.clone() };
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
            Some(Series { name: row.name.clone(), points: bins.iter().map(|bin| (bin.said, bin.found)).collect() })
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
