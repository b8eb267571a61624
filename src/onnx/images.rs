//! Images in rows: channels, then lines, then columns.

use super::graph::{Name, float, int, ints};
use super::translation::{At, Done};
use crate::ops::batch_norm::RunningBatchNorm;
use crate::ops::conv::{Conv2d, Image, Window};
use crate::ops::image::{ChannelMean, MaxPool};
use crate::ops::norm::InstanceNorm;

/// Rows as pictures `[N, C, H, W]`.
fn pictures(at: &mut At, image: &Image) -> Done<Name> {
    let x = at.x(0)?;
    Ok(at.reshape(&x, &[-1, i64::from(image.channels), i64::from(image.height), i64::from(image.width)]))
}

/// The way back.
fn rows(at: &mut At, pictures: &str) {
    let cols = i64::from(at.out_cols(0));
    let y = at.reshape(pictures, &[-1, cols]);
    at.give(0, y);
}

/// Attributes of a window.
fn window(of: &Window) -> Vec<super::proto::AttributeProto> {
    let [[height, width], [down, across]] = [of.size, of.pad].map(|pair| pair.map(i64::from));
    vec![
        ints("kernel_shape", &[height, width]),
        ints("strides", &[i64::from(of.stride); 2]),
        ints("pads", &[down, across, down, across]),
    ]
}

pub fn conv(at: &mut At, of: &Conv2d) -> Done {
    let x = pictures(at, &of.from)?;
    let w = at.x(1)?;
    let [height, width] = of.window.size.map(i64::from);
    let (channels, from) = (i64::from(of.channels), i64::from(of.from.channels));
    let w = at.reshape(&w, &[channels, from, height, width]);
    let mut inputs = vec![x, w];
    if at.node.inputs.len() > 2 {
        let bias = at.x(2)?;
        inputs.push(at.reshape(&bias, &[channels]));
    }
    let inputs: Vec<&str> = inputs.iter().map(String::as_str).collect();
    let y = at.with("Conv", &inputs, window(&of.window));
    rows(at, &y);
    Ok(())
}

pub fn max_pool(at: &mut At, of: &MaxPool) -> Done {
    let x = pictures(at, &of.from)?;
    let y = at.with("MaxPool", &[&x], window(&of.window));
    rows(at, &y);
    Ok(())
}

/// Rows as channels with their values in a line, `[N, C, P]`.
fn channels(at: &mut At, channels: u32) -> Done<Name> {
    let (x, cols) = (at.x(0)?, at.cols(0));
    Ok(at.reshape(&x, &[-1, i64::from(channels), i64::from(cols / channels)]))
}

pub fn channel_mean(at: &mut At, of: &ChannelMean) -> Done {
    let x = channels(at, of.channels)?;
    let y = at.with("ReduceMean", &[&x], vec![ints("axes", &[2]), int("keepdims", 0)]);
    at.give(0, y);
    Ok(())
}

pub fn instance_norm(at: &mut At, of: &InstanceNorm) -> Done {
    let x = channels(at, of.channels)?;
    let cols = at.cols(0) / of.channels;
    let ones = at.numbers(&[i64::from(cols)], &vec![1.0; cols as usize]);
    let settings = vec![int("axis", 2), float("epsilon", of.eps)];
    let y = at.with("LayerNormalization", &[&x, &ones], settings);
    rows(at, &y);
    Ok(())
}

pub fn batch_norm(at: &mut At, of: &RunningBatchNorm) -> Done {
    let x = at.x(0)?;
    let (cols, channels) = (at.cols(0), i64::from(of.channels));
    // With the channels last there are images in a row, of one place each.
    let places = if of.last { 1 } else { i64::from(cols / of.channels) };
    let x = at.reshape(&x, &[-1, channels, places]);
    let mut inputs = vec![x];
    for n in 1..5 {
        let row = at.x(n)?;
        inputs.push(at.reshape(&row, &[channels]));
    }
    let inputs: Vec<&str> = inputs.iter().map(String::as_str).collect();
    let y = at.with("BatchNormalization", &inputs, vec![float("epsilon", of.eps)]);
    rows(at, &y);
    Ok(())
}
