//! A frozen front, computed once of all bags.

use super::{Inputs, Session};
use crate::bag::{Bags, Features};
use crate::error::{Error, Result};
use crate::kernels::launch::Extent;
use crate::plan::Purpose;
use crate::tape::Storage;
use crate::tape::front::{Cut, FRONT, cut};

/// Rows of a batch of the front: enough to keep a device busy.
const ROWS: usize = 1 << 14;

impl Session {
    /// Computes what a frozen front ([`crate::tape::Tape::freeze_front`]) makes of all `bags`: bags with its rows, in f32,
    /// for features. **From then on the session takes such bags and no others**; it trains and predicts as before, to
    /// rounding, by the part of the model behind the front. `None`, and nothing is changed, of a model without a front.
    ///
    /// # Errors
    /// As [`Session::outputs`].
    pub fn pass_front(&mut self, bags: &Bags) -> Result<Option<Bags>> {
        let Some(Cut { front, rest, width }) = cut(&self.tape) else { return Ok(None) };
        self.check_width(bags)?;
        bags.check_indices(&(0..bags.len()).collect::<Vec<_>>())?;
        crate::bounded::check_room(
            "what a frozen front makes of all bags",
            &[bags.instances() as u64, width as u64, 4],
        )?;
        self.fetch()?;
        let mut of_front = Self::on_tape(&self.device, self.model.clone(), front, self.storage, false)?;
        (of_front.budget, of_front.binding) = (self.budget, self.binding);
        let most = of_front.rows_that_fit()?;
        let mut rows = Vec::with_capacity(bags.instances() * width);
        let mut next = 0;
        while next < bags.len() {
            let first = next;
            while next < bags.len() && bags.offsets[next + 1] - bags.offsets[first] <= most {
                next += 1;
            }
            if next > first {
                let indices: Vec<usize> = (first..next).collect();
                of_front.append_front(&Inputs::of(bags, &indices, None), &mut rows)?;
                continue;
            }
            // A bag of many rows in pieces: each row stands alone.
            let size = bags.rows(first).len();
            for start in (0..size).step_by(most) {
                let kept = [(start..size.min(start + most)).collect()];
                of_front.append_front(&Inputs { kept: Some(&kept), ..Inputs::of(bags, &[first], None) }, &mut rows)?;
            }
            next += 1;
        }
        (self.tape, self.storage, self.width) = (rest, Storage::F32, width);
        (self.windows, self.too_many) = (None, None);
        // What the device holds of features of other bags is not for these.
        self.number = super::next_number();
        self.short.clear();
        self.replan()?;
        Ok(Some(bags.with_features(Features::F32(rows), width)))
    }

    /// Rows of a batch that the device or the budget holds, at most [`ROWS`]; a power of two.
    fn rows_that_fit(&mut self) -> Result<usize> {
        let mut rows = ROWS;
        loop {
            // As many bags and tiles as so many rows may have.
            match self.ready_whole(Purpose::Predict, Extent::of(std::iter::repeat_n(1, rows))) {
                Err(Error::Limit { .. }) if rows > 1 => rows /= 2,
                done => return done.map(|()| rows),
            }
        }
    }

    fn append_front(&mut self, inputs: &Inputs, rows: &mut Vec<f32>) -> Result<()> {
        let (mut outputs, _) = self.look(Purpose::Predict, *inputs, &vec![0.0; inputs.indices.len()])?;
        rows.append(outputs.get_mut(FRONT).expect("the front's output"));
        Ok(())
    }
}
