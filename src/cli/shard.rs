//! Which part of its runs a process does, where several share them.

use std::str::FromStr;

/// A part of the fits: its number from 0 and how many there are; or none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shard(Option<[usize; 2]>);

impl FromStr for Shard {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "none" {
            return Ok(Self(None));
        }
        let numbers = text.split_once('/').and_then(|(part, of)| Some([part.parse().ok()?, of.parse().ok()?]));
        match numbers {
            Some([part, of]) if (1..=of).contains(&part) => Ok(Self(Some([part - 1, of]))),
            _ => Err(format!("expected I/N with I from 1 to N, such as 2/8, or none, found {text:?}")),
        }
    }
}

impl Shard {
    /// The part that was asked for, else that of a task of a job array under Slurm.
    pub fn part(asked: Option<Self>) -> Option<[usize; 2]> {
        asked.map_or_else(|| Self::of_slurm(|name| std::env::var(name).ok()), |Self(part)| part)
    }

    /// The part of a task of a job array, whose numbers may begin anywhere.
    fn of_slurm(variable: impl Fn(&str) -> Option<String>) -> Option<[usize; 2]> {
        let number = |name: &str| variable(name)?.parse::<usize>().ok();
        let (task, first) = (number("SLURM_ARRAY_TASK_ID")?, number("SLURM_ARRAY_TASK_MIN")?);
        let of = number("SLURM_ARRAY_TASK_COUNT").filter(|of| *of > 1)?;
        let (last, part) = (number("SLURM_ARRAY_TASK_MAX")?, task.checked_sub(first)?);
        // Tasks with gaps between them cannot be told from their number alone.
        (last.checked_sub(first)? + 1 == of && part < of).then_some([part, of])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_a_study_are_read() {
        assert_eq!("2/8".parse(), Ok(Shard(Some([1, 8]))));
        assert_eq!("none".parse(), Ok(Shard(None)));
        assert!(["0/2", "3/2", "1", "a/b", "1/0"].iter().all(|text| text.parse::<Shard>().is_err()));
        let slurm = |task: &str, [min, max, count]: [&str; 3]| {
            let of = [("TASK_ID", task), ("TASK_MIN", min), ("TASK_MAX", max), ("TASK_COUNT", count)];
            Shard::of_slurm(|name| {
                let found = of.iter().find(|(ending, _)| name == format!("SLURM_ARRAY_{ending}"));
                found.map(|(_, value)| value.to_string()).filter(|value| !value.is_empty())
            })
        };
        assert_eq!(slurm("3", ["1", "4", "4"]), Some([2, 4]));
        assert_eq!(slurm("0", ["0", "1", "2"]), Some([0, 2]));
        assert_eq!(slurm("4", ["1", "9", "4"]), None);
        assert_eq!(slurm("", ["", "", ""]), None);
    }
}
