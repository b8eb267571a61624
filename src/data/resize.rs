//! Pictures at another size: a triangle as wide as a pixel of the coarser grid, as Pillow's BILINEAR has it, so
//! that shrinking averages and does not skip.

/// For each place of the new line: its first place in the old line, and weights from there on.
struct Taps {
    first: Vec<usize>,
    weights: Vec<f32>,
    each: usize,
}

impl Taps {
    fn new(from: usize, to: usize) -> Self {
        let scale = from as f64 / to as f64;
        let support = scale.max(1.0);
        let each = 2 * support.ceil() as usize + 1;
        let (mut first, mut weights) = (Vec::with_capacity(to), vec![0.0; to * each]);
        for (i, weights) in weights.chunks_exact_mut(each).enumerate() {
            let middle = (i as f64 + 0.5) * scale;
            let start = (middle - support + 0.5).max(0.0) as usize;
            let end = ((middle + support + 0.5) as usize).min(from);
            let of = |place: usize| (1.0 - ((place as f64 - middle + 0.5) / support).abs()).max(0.0);
            let total: f64 = (start..end).map(of).sum();
            weights.iter_mut().zip(start..end).for_each(|(w, place)| *w = (of(place) / total) as f32);
            first.push(start);
        }
        Self { first, weights, each }
    }

    fn of(&self, place: usize) -> (usize, &[f32]) {
        (self.first[place], &self.weights[place * self.each..(place + 1) * self.each])
    }
}

/// Bytes of `channels` interleaved channels of `from` (height, width) at the size `to`. Of the source nothing but its
/// bytes is held: lines are narrowed and added to the new lines one by one.
pub(crate) fn resize_bytes(pixels: &[u8], channels: usize, from: [usize; 2], to: [usize; 2]) -> Vec<u8> {
    if from == to {
        return pixels.to_vec();
    }
    let [height, width] = from;
    let (across, down) = (Taps::new(width, to[1]), Taps::new(height, to[0]));
    let length = to[1] * channels;
    let (mut narrow, mut out) = (vec![0.0f32; length], vec![0.0f32; to[0] * length]);
    let mut open = 0;
    for (y, line) in pixels.chunks_exact(width * channels).enumerate() {
        for (x, o) in narrow.iter_mut().enumerate() {
            let (first, weights) = across.of(x / channels);
            let values = line[first * channels + x % channels..].iter().step_by(channels);
            *o = values.zip(weights).map(|(v, w)| f32::from(*v) * w).sum();
        }
        for (place, out) in out.chunks_exact_mut(length).enumerate().skip(open) {
            let (first, weights) = down.of(place);
            if y < first {
                break;
            }
            match weights.get(y - first) {
                Some(w) => out.iter_mut().zip(&narrow).for_each(|(o, v)| *o += v * w),
                None => open = place + 1,
            }
        }
    }
    out.into_iter().map(|v| v.round().clamp(0.0, 255.0) as u8).collect()
}

/// Planes of `from` (height, width), one after the other, at the size `to`.
pub(crate) fn resize(planes: &[f32], from: [usize; 2], to: [usize; 2]) -> Vec<f32> {
    if from == to {
        return planes.to_vec();
    }
    let [height, width] = from;
    let (across, down) = (Taps::new(width, to[1]), Taps::new(height, to[0]));
    let mut narrow = vec![0.0; planes.len() / width * to[1]];
    for (line, out) in planes.chunks_exact(width).zip(narrow.chunks_exact_mut(to[1])) {
        for (x, o) in out.iter_mut().enumerate() {
            let (first, weights) = across.of(x);
            *o = line[first..].iter().zip(weights).map(|(v, w)| v * w).sum();
        }
    }
    let mut out = vec![0.0; planes.len() / (height * width) * to[0] * to[1]];
    for (plane, out) in narrow.chunks_exact(height * to[1]).zip(out.chunks_exact_mut(to[0] * to[1])) {
        for (y, out) in out.chunks_exact_mut(to[1]).enumerate() {
            let (first, weights) = down.of(y);
            for (line, w) in plane.chunks_exact(to[1]).skip(first).zip(weights) {
                out.iter_mut().zip(line).for_each(|(o, v)| *o += v * w);
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shrinking_averages_and_growing_interpolates() {
        assert_eq!(resize(&[1.0, 2.0, 3.0, 4.0], [2, 2], [2, 2]), [1.0, 2.0, 3.0, 4.0]);
        // Weights of the triangle of width 2 at 0.5, 1.5, 2.5: 0.75, 0.75, 0.25, over their sum.
        let half = resize(&[1.0, 2.0, 3.0, 4.0], [1, 4], [1, 2]);
        assert!((half[0] - (0.75 + 1.5 + 0.75) / 1.75).abs() < 1e-6, "{half:?}");
        assert!((half[0] + half[1] - 5.0).abs() < 1e-6);
        // Twice as wide: 1, 1.25, 1.75, 2.
        assert_eq!(resize(&[1.0, 2.0], [1, 2], [1, 4]), [1.0, 1.25, 1.75, 2.0]);
        assert_eq!(resize(&[1.0, 2.0], [2, 1], [4, 1]), [1.0, 1.25, 1.75, 2.0]);
    }

    #[test]
    fn bytes_become_what_planes_become() {
        let mut random = crate::random::Random::new(1, 0);
        for (from, to) in [([40, 30], [7, 5]), ([7, 5], [31, 20]), ([9, 40], [20, 6]), ([3, 3], [1, 1])] {
            let pixels: Vec<u8> = (0..from[0] * from[1] * 3).map(|_| (random.uniform() * 256.0) as u8).collect();
            let planes: Vec<f32> =
                (0..3).flat_map(|c| pixels.iter().skip(c).step_by(3)).map(|&p| f32::from(p)).collect();
            let planes = resize(&planes, from, to);
            let area = to[0] * to[1];
            let wanted = (0..area * 3).map(|i| planes[i % 3 * area + i / 3].round().clamp(0.0, 255.0) as u8);
            assert_eq!(resize_bytes(&pixels, 3, from, to), wanted.collect::<Vec<_>>(), "{from:?} to {to:?}");
        }
    }

    #[test]
    fn a_plain_picture_stays_plain_and_planes_stay_apart() {
        let picture = [vec![0.25; 35], vec![0.5; 35]].concat();
        for to in [[1, 1], [3, 4], [7, 5], [20, 31]] {
            let out = resize(&picture, [5, 7], to);
            let area = to[0] * to[1];
            assert_eq!(out.len(), 2 * area);
            assert!(out[..area].iter().all(|v| (v - 0.25).abs() < 1e-6), "{to:?}");
            assert!(out[area..].iter().all(|v| (v - 0.5).abs() < 1e-6), "{to:?}");
        }
    }
}
