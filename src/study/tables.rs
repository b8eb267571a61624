//! Results as tables: for people, for programs, for papers.

use super::fit::{FROC, INSTANCE_AUC, INTEGRATED_BRIER};
use super::results::{OverFolds, Pair, Results, Row, SAMPLES, Tested};
use super::{Divided, Kind};
use std::fmt::Write;

/// Scores that not every study has.
const SOMETIMES: [&str; 3] = [INTEGRATED_BRIER, INSTANCE_AUC, FROC];

impl Results {
    /// What was done, in sentences.
    pub fn summary(&self) -> String {
        let groups = self.groups.map_or(String::new(), |n| format!(" of {n} groups, each in one part"));
        let of = match (self.bags_have, &self.classes[..]) {
            (Kind::Classes, [_, positive]) => format!("AUC and F1 are of class {positive}"),
            (Kind::Classes, _) => "AUC and F1 are means over the classes".to_owned(),
            (Kind::LabelSets, _) => "AUC and F1 are means over the labels".to_owned(),
            (Kind::Numbers, _) => "R² is the share of the variance of all bags that is told".to_owned(),
            (Kind::Survival, _) => {
                "the C-index is the share of pairs whose earlier event has the higher risk".to_owned()
            }
        };
        let divided = match self.divided {
            Divided::InFolds => format!("{} x {} folds", self.repeats, self.folds),
            Divided::MonteCarlo => format!("{} divisions that each test bags drawn anew", self.repeats),
            Divided::BySite => format!("{} folds of whole sites", self.folds),
        };
        let validation = match self.validation > 0.0 {
            true => format!("{:.0} % of the training bags of a fold chose the epoch", 100.0 * self.validation),
            false => "no validation bags, the last epoch was taken".to_owned(),
        };
        let sites = match (self.sites, self.divided) {
            (None, _) => String::new(),
            (Some(sites), Divided::BySite) => format!(" The {sites} sites are each in one fold."),
            (Some(sites), _) => {
                format!(" The {sites} sites are on both sides of folds, so what is learnt of a site counts as right.")
            }
        };
        let counts = self.tested.iter().map(|Tested { what, fewest, most }| {
            let of = if self.bags_have.has_classes() { "of " } else { "" };
            if fewest == most { format!("{fewest} {of}{what}") } else { format!("{fewest} to {most} {of}{what}") }
        });
        let counts: Vec<String> = counts.collect();
        let majority = self.majority.map_or(String::new(), |share| {
            format!(" Always the most frequent class would be right in {:.1} %.", 100.0 * share)
        });
        format!(
            "{} bags{groups}; {divided}, {} seeds each, testing {}; {validation}, and each bag was tested by models that saw no \
             bag of its group.{sites} {}.{majority}",
            self.bags,
            self.seeds,
            counts.join(" and "),
            upper(&of),
        )
    }

    /// What the score is that methods are judged by, as the head of a column.
    pub(super) fn value_told(&self) -> String {
        let of = if self.divided == Divided::MonteCarlo { "each division" } else { "all folds" };
        format!("{}, {of}", self.bags_have.title())
    }

    /// The score more, as the head of a column.
    pub(super) fn more_told(&self) -> String {
        format!("{} more", self.bags_have.title())
    }

    /// How the score and its intervals come about.
    pub fn notes(&self) -> String {
        let title = self.bags_have.title();
        let value = match (self.divided, self.bags_have) {
            (_, Kind::Survival) => {
                "the C-index over pairs of bags that one fit tests, as the risks of two fits have no common zero, of all folds \
                 together, a mean over divisions and seeds"
                    .to_owned()
            }
            (Divided::MonteCarlo, _) => format!("the {title} of the bags that a division tests, a mean over divisions and seeds"),
            _ => format!("the {title} of the predictions of all folds together, a mean over divisions and seeds"),
        };
        let delong = match (&self.no_delong, self.bags_have) {
            (_, Kind::LabelSets | Kind::Numbers | Kind::Survival) => String::new(),
            (Some(why), _) => format!(" DeLong's interval is not given: {why}."),
            (None, _) if self.clustered => " Obuchowski's interval is DeLong's for groups of several bags: it takes groups for \
                                            independent and predictions as they are, as the samples do; two that differ much tell \
                                            that neither is to be leaned on."
                .to_owned(),
            (None, _) => " DeLong's interval takes bags for independent and predictions as they are, as the samples do; two that \
                          differ much tell that neither is to be leaned on."
                .to_owned(),
        };
        let more = match self.bags_have {
            Kind::Survival if self.has(INTEGRATED_BRIER) => {
                " Uno's C-index is weighted by the censoring of the bags that a fit saw, up to the last of their events; so is the \
                 integrated Brier score, from the first to the last edge of the intervals, of which smaller is better. That of the \
                 baseline that knows no bag is of the Kaplan-Meier curve of those bags."
            }
            Kind::Survival => {
                " Uno's C-index is weighted by the censoring of the bags that a fit saw, up to the last of their events."
            }
            _ => "",
        };
        let instances = match (self.has(INSTANCE_AUC), self.has(FROC)) {
            (false, _) => "",
            (true, false) => " The instance AUC is that of the instance scores of the tested bags.",
            (true, true) => {
                " The instance AUC is that of the instance scores of the tested bags; froc is the mean share of lesions that they find \
                 at 1/4, 1/2, 1, 2, 4 and 8 false positives a slide."
            }
        };
        format!(
            "{}: {value}; its interval has 95 % of {SAMPLES} samples of the groups (of the bags, where there are no groups).{delong} \
             The other columns: mean ± standard deviation over folds, divisions and seeds.{more}{instances}",
            self.value_told()
        )
    }

    /// Whose interval stands beside that of the samples, as the head of a column; nobody's where there is none.
    pub(super) fn analytic(&self, what: &str) -> Option<String> {
        let of = if self.clustered { "Obuchowski" } else { "DeLong" };
        self.no_delong.is_none().then(|| format!("{what}, {of}"))
    }

    /// Columns of scores.
    pub(super) fn shown(&self) -> Vec<&'static str> {
        self.with_others(self.bags_have.shown())
    }

    /// These columns and those of [`SOMETIMES`] that this study has.
    pub(super) fn with_others(&self, columns: &[&'static str]) -> Vec<&'static str> {
        columns.iter().copied().chain(SOMETIMES.into_iter().filter(|name| self.has(name))).collect()
    }

    /// True where some fit has this score.
    fn has(&self, metric: &str) -> bool {
        self.methods.iter().any(|row| row.folds.iter().any(|of| of.metric == metric))
    }

    /// True where some methods are baselines.
    pub(super) fn has_baselines(&self) -> bool {
        self.methods.iter().any(|row| row.baseline) && self.methods.iter().any(|row| !row.baseline)
    }

    /// A page for people.
    pub fn markdown(&self) -> String {
        let mut text = format!("# Cross-validation on {}\n\n{}\n\n", self.data, self.summary());
        let delong = self.no_delong.is_none();
        let mut head = vec!["method".to_owned(), self.value_told(), "95 %".to_owned()];
        head.extend(self.analytic("95 %"));
        head.extend(self.has_baselines().then(|| "against the baselines".to_owned()));
        let shown = self.shown();
        head.extend(shown.iter().map(|name| name.replace('_', " ")));
        head.push("seconds a fit".to_owned());
        table(
            &mut text,
            &head,
            self.methods.iter().map(|row| {
                let mut cells = vec![row.name.clone(), three(row.value), range(row.interval)];
                cells.extend(delong.then(|| range(row.delong)));
                cells.extend(self.has_baselines().then(|| row.verdict()));
                cells.extend(shown.iter().map(|name| row.cell(name)));
                cells.push(format!("{:.1}", row.seconds));
                cells
            }),
        );
        let _ = writeln!(text, "\n{}", self.notes());
        if self.has_baselines() {
            let _ = writeln!(
                text,
                "A method beats a baseline where all of the 95 % interval of its {} less that of the baseline, on the same \
                 samples, is above 0.",
                self.bags_have.title()
            );
        }
        if !self.pairs.is_empty() {
            text += "\n";
            let mut head = ["better", "worse", &self.more_told(), "95 %", "p"].map(str::to_owned).to_vec();
            head.extend(self.analytic("95 %"));
            head.extend(self.analytic("p"));
            table(
                &mut text,
                &head,
                self.pairs.iter().map(|pair| {
                    let mut cells = vec![pair.better.clone(), pair.worse.clone(), format!("{:.3}", pair.difference)];
                    cells.extend([range(Some(pair.interval)), format!("{:.3}", pair.p)]);
                    cells.extend(delong.then(|| range(pair.delong.map(|of| of.interval))));
                    cells.extend(delong.then(|| probability(pair.delong.map(|of| of.p))));
                    cells
                }),
            );
            text += "\nDifferences on the same samples of the groups; p is not corrected for the number of pairs.\n";
        }
        text += &self.halves();
        for row in &self.methods {
            text += &row.search.as_ref().map_or_else(String::new, |chosen| chosen.markdown(&row.name, self.bags_have));
        }
        text
    }

    /// Survival of the halves of each method, as a table.
    fn halves(&self) -> String {
        let found = || self.methods.iter().filter_map(|row| Some((row, row.halves.as_ref()?)));
        if found().next().is_none() {
            return String::new();
        }
        let mut text = "\n".to_owned();
        let head = ["method", "events, lower risk", "events, higher risk", "log-rank chi-squared", "p"];
        table(
            &mut text,
            &head.map(str::to_owned),
            found().map(|(row, halves)| {
                let [low, high] = [0, 1].map(|half| format!("{} of {}", halves.events[half], halves.bags[half]));
                vec![row.name.clone(), low, high, format!("{:.2}", halves.chi_squared), probability(Some(halves.p))]
            }),
        );
        text += "\nThe first division and seed; higher is a risk above the median of the validation bags of the fit (of its training \
                 bags without them), so no bag has a say in where its line is drawn. The log-rank test takes bags for \
                 independent.\n";
        text
    }

    /// A line for each method and score: the one that methods are judged by with its intervals, then means over fits.
    pub fn csv(&self) -> String {
        let mut text = "method,baseline,metric,value,low,high,delong_low,delong_high,deviation,fits\n".to_owned();
        for row in &self.methods {
            let number = |value: Option<f64>| value.map_or(String::new(), |value| value.to_string());
            let ends = |of: Option<[f64; 2]>| [number(of.map(|of| of[0])), number(of.map(|of| of[1]))].join(",");
            let name = format!("\"{}\",{}", row.name.replace('"', "\"\""), row.baseline);
            let (value, interval, delong) = (number(row.value), ends(row.interval), ends(row.delong));
            let (metric, fits) = (self.judged_by, row.of_fits.len());
            let _ = writeln!(text, "{name},{metric}_all_folds,{value},{interval},{delong},,{fits}");
            for OverFolds { metric, mean, deviation, fits } in &row.folds {
                let metric = if metric.contains([',', '"']) {
                    format!("\"{}\"", metric.replace('"', "\"\""))
                } else {
                    metric.clone()
                };
                let _ = writeln!(text, "{name},{metric},{mean},,,,,{},{fits}", number(*deviation));
            }
        }
        text
    }

    /// Two tables for a paper that uses the package booktabs.
    pub fn tex(&self) -> String {
        let mut text = "% Written by bagrad cross-validate; needs \\usepackage{booktabs}.\n".to_owned();
        let delong = self.no_delong.is_none();
        let _ = writeln!(text, "% {}", latex(&self.summary()));
        let columns = 4 + usize::from(delong);
        let _ = writeln!(text, "\\begin{{tabular}}{{l{}}}\n\\toprule", "r".repeat(columns - 1));
        let head = self.analytic("95\\,\\%").map_or(String::new(), |head| format!(" & {head}"));
        let [title, metric] = self.bags_have.of_papers();
        let of = latex(self.bags_have.title());
        let _ = writeln!(text, "Method & {of} & 95\\,\\%{head} & {title} \\\\\n\\midrule");
        for row in &self.methods {
            let more = if delong { format!(" & {}", latex_range(row.delong)) } else { String::new() };
            let (value, other) = (three(row.value), latex(&row.cell(metric)));
            let (name, interval) = (latex(&row.name), latex_range(row.interval));
            let _ = writeln!(text, "{name} & {value} & {interval}{more} & {other} \\\\");
        }
        text += "\\bottomrule\n\\end{tabular}\n";
        if !self.pairs.is_empty() {
            let _ = writeln!(
                text,
                "\n\\begin{{tabular}}{{llrrr}}\n\\toprule\nBetter & Worse & $\\Delta$ {of} & 95\\,\\% & $p$ \\\\\n\\midrule"
            );
            for Pair { better, worse, difference, interval, p, .. } in &self.pairs {
                let (better, worse, interval) = (latex(better), latex(worse), latex_range(Some(*interval)));
                let _ = writeln!(text, "{better} & {worse} & {difference:.3} & {interval} & {p:.3} \\\\");
            }
            text += "\\bottomrule\n\\end{tabular}\n";
        }
        text
    }
}

impl Row {
    /// The mean and deviation of a score, as people read them.
    pub(super) fn cell(&self, metric: &str) -> String {
        let found = self.folds.iter().find(|of| of.metric == metric);
        found.map_or("-".into(), |of| match of.deviation {
            Some(deviation) => format!("{:.3} ± {deviation:.3}", of.mean),
            None => format!("{:.3}", of.mean),
        })
    }

    /// Whether it beats the baselines, in words.
    pub(super) fn verdict(&self) -> String {
        if self.baseline {
            return "is one".into();
        }
        let unbeaten: Vec<&str> = self.against.iter().filter(|of| !of.beats).map(|of| short(&of.baseline)).collect();
        match (self.against.len(), unbeaten.len()) {
            (0, _) => "-".into(),
            (_, 0) => "beats them all".into(),
            _ => format!("does not beat {}", unbeaten.join(", ")),
        }
    }
}

/// A sentence that begins with a capital, where it begins with a letter.
fn upper(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or(String::new(), |first| first.to_uppercase().chain(chars).collect())
}

/// A baseline without the word.
fn short(name: &str) -> &str {
    name.strip_prefix("baseline: ").unwrap_or(name)
}

/// Three digits, or a dash.
pub(super) fn three(value: Option<f64>) -> String {
    value.map_or("-".into(), |value| format!("{value:.3}"))
}

/// A p-value; one that three digits cannot tell from 0 is not called so.
pub(super) fn probability(p: Option<f64>) -> String {
    match p {
        Some(p) if p < 0.0005 => "<0.001".into(),
        p => three(p),
    }
}

/// Both ends of an interval, or a dash.
pub(super) fn range(of: Option<[f64; 2]>) -> String {
    of.map_or("-".into(), |[low, high]| format!("{low:.3} to {high:.3}"))
}

/// Lines of Markdown.
fn table(text: &mut String, head: &[String], rows: impl Iterator<Item = Vec<String>>) {
    let line = |cells: &[String]| {
        let cells: Vec<String> = cells.iter().map(|cell| cell.replace('|', "\\|")).collect();
        format!("| {} |\n", cells.join(" | "))
    };
    *text += &line(head);
    let _ = writeln!(text, "|{}", "---|".repeat(head.len()));
    rows.for_each(|cells| *text += &line(&cells));
}

/// Text as LaTeX prints it; characters that a line of it cannot have become spaces.
fn latex(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\\' => out.push_str("\\textbackslash{}"),
            '~' => out.push_str("\\textasciitilde{}"),
            '^' => out.push_str("\\textasciicircum{}"),
            '&' | '%' | '$' | '#' | '_' | '{' | '}' => out.extend(['\\', c]),
            '±' => out.push_str("$\\pm$"),
            '²' => out.push_str("$^2$"),
            // Brackets behind the end of a line would be read as its option.
            '[' | ']' => out.extend(['{', c, '}']),
            c if c.is_control() => out.push(' '),
            c => out.push(c),
        }
    }
    out
}

fn latex_range(of: Option<[f64; 2]>) -> String {
    of.map_or("--".into(), |[low, high]| format!("{low:.3}--{high:.3}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_escaped_for_papers() {
        assert_eq!(
            latex("a_b 5 % & {x} [64] \\ ~^#$"),
            "a\\_b 5 \\% \\& \\{x\\} {[}64{]} \\textbackslash{} \
                   \\textasciitilde{}\\textasciicircum{}\\#\\$"
        );
        assert_eq!(latex("a\nb"), "a b");
    }

    #[test]
    fn cells_have_no_bars_of_their_own() {
        let mut text = String::new();
        table(&mut text, &["a".into()], [vec!["x|y".to_owned()]].into_iter());
        assert_eq!(text, "| a |\n|---|\n| x\\|y |\n");
    }
}
