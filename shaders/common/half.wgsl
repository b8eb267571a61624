// Features in f16 or f32 behind one pair of loaders: `feature(i)` and `feature4(i)` (i counts groups of 4).
