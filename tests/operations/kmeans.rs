//! K-means on every device against a plain implementation in f64.

use crate::common;
use bagrad::device::Device;
use bagrad::kmeans::{Clustering, KMeans, Seeding};
use bagrad::random::Random;

fn devices() -> Vec<Device> {
    [Some(Device::oracle()), Some(Device::host()), common::gpu()].into_iter().flatten().collect()
}

/// `groups` clouds of points.
fn clouds(rows: usize, width: usize, groups: usize, spread: f64) -> Vec<f32> {
    let mut random = Random::new(5, 9);
    let centres: Vec<f64> = (0..groups * width).map(|_| 4.0 * random.normal()).collect();
    let mut value = |i: usize| centres[i / width % groups * width + i % width] + spread * random.normal();
    (0..rows * width).map(|i| value(i) as f32).collect()
}

fn squared(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| (a - b) * (a - b)).sum()
}

/// Lloyd's iterations from `start`, written out; a cluster without rows takes the farthest row of those that have
/// others beside them.
fn plain(rows: &[f32], width: usize, start: &[f32], iterations: usize) -> (Vec<f64>, Vec<usize>) {
    let rows: Vec<Vec<f64>> = rows.chunks(width).map(|r| r.iter().map(|v| *v as f64).collect()).collect();
    let mut centroids: Vec<Vec<f64>> = start.chunks(width).map(|r| r.iter().map(|v| *v as f64).collect()).collect();
    let nearest = |centroids: &[Vec<f64>], row: &[f64]| {
        let distances: Vec<f64> = centroids.iter().map(|c| squared(c, row)).collect();
        let least = distances.iter().copied().fold(f64::INFINITY, f64::min);
        (distances.iter().position(|d| *d == least).unwrap(), least)
    };
    for _ in 0..iterations {
        let mut found: Vec<(usize, f64)> = rows.iter().map(|r| nearest(&centroids, r)).collect();
        for k in 0..centroids.len() {
            let count = |k: usize| found.iter().filter(|f| f.0 == k).count();
            if count(k) == 0 {
                let free = |r: &usize| count(found[*r].0) > 1;
                let most = (0..rows.len()).filter(free).map(|r| found[r].1).fold(-1.0, f64::max);
                let row = (0..rows.len()).filter(free).find(|r| found[*r].1 == most).unwrap();
                found[row] = (k, 0.0);
            }
        }
        for (k, centroid) in centroids.iter_mut().enumerate() {
            let own: Vec<&Vec<f64>> = rows.iter().zip(&found).filter(|(_, f)| f.0 == k).map(|(r, _)| r).collect();
            for (c, value) in centroid.iter_mut().enumerate() {
                *value = own.iter().map(|r| r[c]).sum::<f64>() / own.len() as f64;
            }
        }
    }
    let clusters = rows.iter().map(|r| nearest(&centroids, r).0).collect();
    (centroids.concat(), clusters)
}

fn check(found: &Clustering, wanted: &(Vec<f64>, Vec<usize>), device: &Device) {
    let what = device.name();
    let error = found.centroids.iter().zip(&wanted.0).map(|(a, b)| (*a as f64 - b).abs()).fold(0.0, f64::max);
    assert!(error < 2e-5, "centroids differ by {error:.1e} on {what}");
    let clusters: Vec<usize> = found.clusters.iter().map(|k| *k as usize).collect();
    assert_eq!(clusters, wanted.1, "{what}");
    let counts: Vec<u32> =
        (0..found.counts.len()).map(|k| clusters.iter().filter(|c| **c == k).count() as u32).collect();
    assert_eq!(found.counts, counts, "{what}");
}

#[test]
fn agrees_with_a_plain_implementation() {
    for (rows, width, clusters) in [(1, 1, 1), (5, 3, 5), (65, 4, 3), (300, 17, 8), (1031, 5, 19)] {
        let points = clouds(rows, width, clusters.min(6), 0.7);
        let settings = KMeans { iterations: 6, seed: 3, ..KMeans::new(clusters) };
        for seeding in [Seeding::PlusPlus, Seeding::Sample] {
            let settings = KMeans { seeding, ..settings };
            let start = settings.start(&points, width).unwrap();
            let wanted = plain(&points, width, &start, 6);
            for device in devices() {
                let found = settings.run(&device, &points, width).unwrap();
                check(&found, &wanted, &device);
                assert_eq!(found, settings.run(&device, &points, width).unwrap(), "the same bits again");
            }
        }
    }
}

/// Starts that coincide leave clusters without rows, which take the farthest ones.
#[test]
fn empty_clusters_are_filled() {
    let points = [0.0f32, 0.0, 0.0, 1.0, 10.0, 10.0, 10.0, 11.0];
    for device in devices() {
        for seed in 0..6 {
            let settings = KMeans { seeding: Seeding::Sample, iterations: 5, seed, ..KMeans::new(4) };
            let start = settings.start(&points, 1).unwrap();
            let wanted = plain(&points, 1, &start, 5);
            check(&settings.run(&device, &points, 1).unwrap(), &wanted, &device);
        }
        // All rows alike: one cluster has them all, and nothing is NaN.
        let alike = KMeans::new(3).run(&device, &[2.0; 8], 2).unwrap();
        assert_eq!((alike.counts.iter().sum::<u32>(), alike.inertia()), (4, 0.0));
        assert!(alike.means.iter().all(|m| *m == 2.0), "{:?}", alike.means);
    }
}

/// With rows of length 1 directions are compared, and the means are those of the rows as they were.
#[test]
fn unit_rows_keep_the_means_of_the_rows() {
    let points = [1.0f32, 0.1, 8.0, 0.0, 3.0, 0.2, 0.1, 1.0, 0.0, 6.0];
    for device in devices() {
        let found = KMeans { unit_rows: true, ..KMeans::new(2) }.run(&device, &points, 2).unwrap();
        let first = found.clusters[0];
        assert_eq!(found.clusters, [first, first, first, 1 - first, 1 - first], "{}", device.name());
        let wide = &found.means[2 * first as usize..][..2];
        assert!((wide[0] - 4.0).abs() < 1e-5 && (wide[1] - 0.1).abs() < 1e-6, "{wide:?}");
        let centroid = &found.centroids[2 * first as usize..][..2];
        assert!(centroid[0] > 0.99 && centroid[0] < 1.0, "{centroid:?}");
    }
}

/// k-means++ rarely starts twice in one cloud; clouds that lie apart are found.
#[test]
fn clouds_are_found() {
    let points = clouds(400, 6, 4, 0.05);
    for device in devices() {
        let found = KMeans::new(4).run(&device, &points, 6).unwrap();
        assert_eq!(found.counts, [100; 4], "{}", device.name());
        assert!((0..400).all(|r| found.clusters[r] == found.clusters[r % 4]));
        assert!(found.inertia() < 400.0 * 6.0 * 0.01);
    }
}

#[test]
fn what_cannot_be_clustered_is_refused() {
    let host = Device::host();
    let refused = |settings: KMeans, rows: &[f32], width| settings.run(&host, rows, width).unwrap_err().to_string();
    assert!(refused(KMeans::new(0), &[1.0], 1).contains("clusters"));
    assert!(refused(KMeans::new(3), &[1.0, 2.0], 1).contains("1 to 2"));
    assert!(refused(KMeans::new(1), &[1.0, 2.0, 3.0], 2).contains("rows of 2 values"));
    assert!(refused(KMeans::new(1), &[1.0], 0).contains("rows of 0 values"));
    assert!(refused(KMeans::new(1), &[1.0, f32::NAN], 1).contains("row 1, value 0"));
    assert!(refused(KMeans { iterations: 0, ..KMeans::new(1) }, &[1.0], 1).contains("at least one"));
}
