//! Tables of text, columns aligned.

use bagrad::printable::printable;

/// Lines of `rows` under `head`; the first column stands left, the others right.
pub fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    let columns = head.len();
    let rows: Vec<Vec<String>> = rows.iter().map(|r| r.iter().map(|c| printable(c).into_owned()).collect()).collect();
    let wide = |text: &str| text.chars().count();
    let widths: Vec<usize> =
        (0..columns).map(|c| rows.iter().map(|r| wide(&r[c])).chain([wide(head[c])]).max().unwrap_or(0)).collect();
    let line = |cells: &mut dyn Iterator<Item = &str>| {
        let mut line = String::new();
        for (c, cell) in cells.enumerate() {
            let gap = " ".repeat(widths[c] - wide(cell));
            line += &if c == 0 { format!("{cell}{gap}") } else { format!("  {gap}{cell}") };
        }
        line.trim_end().to_owned() + "\n"
    };
    let mut out = line(&mut head.iter().copied());
    let rule: Vec<String> = widths.iter().map(|w| "-".repeat(*w)).collect();
    out += &line(&mut rule.iter().map(String::as_str));
    for row in &rows {
        out += &line(&mut row.iter().map(String::as_str));
    }
    out
}

/// A score as people read it; a dash where it is not defined.
pub fn score(value: Option<f64>) -> String {
    value.filter(|v| v.is_finite()).map_or("-".into(), |v| format!("{v:.4}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up() {
        let text = table(&["", "AUC"], &[vec!["test".into(), "0.5".into()], vec!["é".into(), "0.1234".into()]]);
        assert_eq!(text, "         AUC\n----  ------\ntest     0.5\né     0.1234\n");
    }
}
