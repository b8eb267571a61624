#!/usr/bin/env python3
"""Small folders of slides as CLAM, TRIDENT, STAMP and others lay them out, for tests and for docs/from-trident.md.

    tools/make_slides.py                      the fixtures in tests/readers/slides
    tools/make_slides.py parquet              those of parquet files alone
    tools/make_slides.py trident FOLDER       a cohort in TRIDENT's layout with its table: 24 patients, 32 slides
    tools/make_slides.py tissue FOLDER        another, whose slides look like tissue: 40 slides with some hundred patches
                                              each, tumours in nests, pictures of slides (for docs/heatmaps.md)

Needs h5py and NumPy; the fixtures of PyTorch files need torch, those of workbooks openpyxl, those of parquet files pyarrow,
polars, duckdb and fastparquet (pip install pyarrow polars duckdb fastparquet). `make_slides.py parquet` writes those alone.
"""
import collections
import csv
import itertools
import json
import os
import pathlib
import struct
import sys
import zipfile
import zlib

import h5py
import numpy as np

ROWS, WIDTH = [4, 3, 5], 6


def features(slide, rows, width=WIDTH):
    """Values that every float holds exactly: the test computes the same."""
    return (slide * 16 + np.arange(rows)[:, None] + np.arange(width)[None] / 8).astype(np.float32)


def places(rows, side=512):
    return np.stack([np.arange(rows) % 3 * side, np.arange(rows) // 3 * side + 1024], 1).astype(np.int64)


def trident(path, x, coords, encoder="uni_v1", chunked=True, **more):
    """TRIDENT: a chunk for each patch, and what is known of the patches beside their places."""
    with h5py.File(path, "w") as file:
        chunks = (1,) * (x.ndim - 1) + (x.shape[-1],) if chunked and x.size else None
        data = file.create_dataset("features", data=x, chunks=chunks, **more)
        data.attrs["name"] = path.stem
        data.attrs["encoder"] = encoder
        if coords is not None:
            place = file.create_dataset("coords", data=coords, chunks=(1, 2) if len(coords) else None)
            about = dict(patch_size=256, patch_size_level0=512, level0_magnification=40, target_magnification=20, overlap=0)
            for name, value in about.items():
                place.attrs[name] = value
            place.attrs["name"] = path.stem


def clam(path, x, coords):
    """CLAM: chunks of 32 rows that may grow, and not one attribute."""
    with h5py.File(path, "w") as file:
        file.create_dataset("features", data=x, chunks=(32, x.shape[1]), maxshape=(None, x.shape[1]))
        file.create_dataset("coords", data=coords.astype(np.int32), chunks=(32, 2), maxshape=(None, 2))


def clam_patches(path, coords):
    with h5py.File(path, "w") as file:
        data = file.create_dataset("coords", data=coords, maxshape=(None, 2))
        for name, value in dict(patch_size=256, patch_level=0, downsample=2.0).items():
            data.attrs[name] = value


def stamp(path, x, coords):
    """STAMP: float16, micrometres, attributes of the file."""
    with h5py.File(path, "w") as file:
        file["feats"] = x.astype(np.float16)
        file["coords"] = coords.astype(np.float32) / 2
        for name, value in dict(
            stamp_version="2.5.0", extractor="ctranspath", unit="um", tile_size_um=256.0, tile_size_px=224, feat_type="tile"
        ).items():
            file.attrs[name] = value


def fixtures(root):
    folder = lambda name: (root / name).mkdir(parents=True, exist_ok=True) or root / name
    for slide, rows in enumerate(ROWS):
        x, coords = features(slide, rows), places(rows)
        clam(folder("clam/h5_files") / f"s{slide}.h5", x, coords)
        clam_patches(folder("patches") / f"s{slide}.h5", coords)
        trident(folder("trident") / f"00{slide}.h5", x.astype(np.float16), coords)
        stamp(folder("stamp") / f"s{slide}.h5", x, coords)
    one, coords = features(1, 3), places(3)
    kinds = folder("kinds")
    trident(kinds / "batch.h5", one[None], coords)
    trident(kinds / "big-endian.h5", one.astype(">f4"), coords)
    trident(kinds / "double.h5", one.astype(np.float64), coords)
    trident(kinds / "gzip.h5", one, coords, compression="gzip", shuffle=True, fletcher32=True)
    trident(kinds / "lzf.h5", np.repeat(one, 1, 0), coords, compression="lzf")
    # Packed chunks of the same length as others.
    trident(kinds / "shuffle.h5", one, coords, shuffle=True)
    trident(kinds / "contiguous.h5", one, coords, chunked=False)
    with h5py.File(kinds / "backwards.h5", "w") as file:
        data = file.create_dataset("features", one.shape, np.float32, chunks=(1, WIDTH))
        place = file.create_dataset("coords", coords.shape, np.int64, chunks=(1, 2))
        for row in reversed(range(len(one))):
            data[row], place[row] = one[row], coords[row]
    with h5py.File(kinds / "latest.h5", "w", libver="latest") as file:
        file.create_dataset("patch_embeddings", data=one.astype(np.float16), chunks=(1, WIDTH), maxshape=(None, WIDTH))
        file["coords"] = coords.astype(np.float32)
    with h5py.File(kinds / "user-block.h5", "w", userblock_size=512) as file:
        file["features"], file["coords"] = one, coords
    bad = folder("bad")
    trident(bad / "good.h5", one, coords)
    trident(bad / "good2.h5", features(2, 2), places(2))
    trident(bad / "empty.h5", np.zeros((0, WIDTH), np.float32), np.zeros((0, 2), np.int64))
    trident(bad / "empty0.h5", np.zeros((0,), np.float32), np.zeros((0, 2), np.int64))
    trident(bad / "narrow.h5", features(1, 2, 4), places(2))
    trident(bad / "nan.h5", np.where(one == one[1, 2], np.nan, one), coords)
    trident(bad / "places.h5", one, places(2))
    clam_patches(bad / "patches.h5", coords)
    whole = (bad / "good.h5").read_bytes()
    (bad / "cut.h5").write_bytes(whole[: len(whole) // 2])
    (bad / "nothing.h5").write_bytes(b"")
    (bad / "words.h5").write_bytes(b"version https://example.org\n")
    (bad / "notes.txt").write_text("not a slide\n")
    vector = folder("vector")
    for slide in range(2):
        trident(vector / f"s{slide}.h5", features(slide, 1)[0], None, encoder="titan")


class Malicious:
    """What a file does that is meant for torch.load and not for its user."""

    def __reduce__(self):
        return os.system, ("touch EXECUTED",)


def torch_fixtures(root):
    import torch

    folder = lambda name: (root / name).mkdir(parents=True, exist_ok=True) or root / name
    for slide, rows in enumerate(ROWS):
        torch.save(torch.from_numpy(features(slide, rows)), folder("clam/pt_files") / f"s{slide}.pt")
    x, coords = torch.from_numpy(features(1, 3)), torch.from_numpy(places(3))
    wider = torch.from_numpy(features(0, 8))
    wider[2:5] = x
    kinds, bad = folder("torch"), folder("torch-bad")
    old = dict(_use_new_zipfile_serialization=False)
    for name, what, how in [
        ("tensor", x, {}),
        ("half", x.half(), {}),
        ("bfloat16", x.bfloat16(), {}),
        ("double", x.double(), {}),
        ("legacy", x, old),
        ("legacy-dict", {"feats": x.half(), "coords": coords}, old),
        ("dict", {"features": x, "coords": coords, "slide": "s1", "level": 0.5}, {}),
        ("ordered", collections.OrderedDict(features=x, coords=coords.int()), {}),
        ("list", [x], {}),
        ("batch", x[None], {}),
        ("transposed", x.T.contiguous().T, {}),
        ("view", wider[2:5], {}),
        ("parameter", torch.nn.Parameter(x), {}),
    ]:
        torch.save(what, kinds / f"{name}.pt", **how)
    for name, what, how in [
        ("malicious", {"features": x, "more": Malicious()}, {}),
        ("malicious-legacy", {"features": x, "more": Malicious()}, old),
        ("module", torch.nn.Linear(2, 2), {}),
        ("state", torch.nn.Linear(2, 2).state_dict(), {}),
        ("integers", coords, {}),
        ("expanded", torch.zeros(1, 2).expand(1 << 40, 2), {}),
        ("several", [x, x], {}),
    ]:
        torch.save(what, bad / f"{name}.pt", **how)
    for name in ["tensor", "legacy"]:
        whole = (kinds / f"{name}.pt").read_bytes()
        (bad / f"cut-{name}.pt").write_bytes(whole[: len(whole) - 30])


def safetensors(path, tensors, **said):
    """The format by hand: the length of the head, the head, the values."""
    head, at, body = {"__metadata__": said} if said else {}, 0, b""
    for name, (kind, array) in tensors.items():
        raw = array.tobytes()
        head[name] = dict(dtype=kind, shape=list(array.shape), data_offsets=[at, at + len(raw)])
        at, body = at + len(raw), body + raw
    head = json.dumps(head).encode()
    path.write_bytes(len(head).to_bytes(8, "little") + head + body)


def bfloat16(x):
    """The upper half of each float32, which the values of `features` fit."""
    return (x.view(np.uint32) >> 16).astype(np.uint16)


def array_fixtures(root):
    """Files of one slide in NumPy's formats and in safetensors."""
    folder = lambda name: (root / name).mkdir(parents=True, exist_ok=True) or root / name
    one, coords = features(1, 3), places(3)
    npy, npz, tensors = folder("npy"), folder("npz"), folder("safetensors")
    for name, x in [
        ("single", one),
        ("half", one.astype(np.float16)),
        ("double", one.astype(np.float64)),
        ("big-endian", one.astype(">f4")),
        ("fortran", np.asfortranarray(one)),
        ("batch", one[None]),
    ]:
        np.save(npy / f"{name}.npy", x)
    np.savez(npz / "stored.npz", features=one, coords=coords)
    np.savez_compressed(npz / "deflate.npz", feats=one.astype(np.float16), coords=coords.astype(np.float64), slide="s1")
    np.savez_compressed(npz / "only.npz", one)
    np.savez(npz / "matrix.npz", embeddings=one, scores=one[:, 0], coords=coords)
    safetensors(tensors / "single.safetensors", {"features": ("F32", one), "coords": ("I64", coords)}, encoder="uni_v1", patch_size_level0="512")
    safetensors(tensors / "half.safetensors", {"feats": ("F16", one.astype(np.float16))})
    safetensors(tensors / "bfloat16.safetensors", {"coords": ("I32", coords.astype(np.int32)), "x": ("BF16", bfloat16(one))})
    safetensors(tensors / "double.safetensors", {"patch_embeddings": ("F64", one.astype(np.float64)[None])})
    labelled, wrong, labels = folder("labelled"), folder("labelled-bad"), np.array([0, 1, -1])
    with h5py.File(labelled / "slide.h5", "w") as file:
        file["features"], file["coords"], file["patch_labels"] = one, coords, labels[:, None]
    np.savez_compressed(labelled / "slide.npz", feats=one, coords=coords, inst_labels=labels.astype(np.int8))
    safetensors(labelled / "slide.safetensors", {"x": ("F32", one), "coords": ("I64", coords), "y_inst": ("F32", labels[:, None].astype(np.float32))})
    np.savez(wrong / "long.npz", features=one, patch_labels=np.zeros(4, int))
    np.savez(wrong / "half.npz", features=one, patch_labels=np.array([0, 0.5, 1]))
    bad = folder("arrays-bad")
    np.savez(bad / "several.npz", a=one, b=one)
    np.savez(bad / "dataset.npz", features=one, bag_ids=np.zeros(3, int))
    np.savez(bad / "places.npz", features=one, coords=places(2))
    np.savez(bad / "integers.npz", features=coords)
    np.savez_compressed(bad / "checksum.npz", features=one)
    whole = bytearray((bad / "checksum.npz").read_bytes())
    at = whole.rindex(b"PK\x01\x02") + 16
    whole[at] ^= 1  # the checksum in the list of the archive
    (bad / "checksum.npz").write_bytes(whole)
    whole = (npz / "stored.npz").read_bytes()
    (bad / "cut.npz").write_bytes(whole[: len(whole) // 2])
    (bad / "module.npz").write_bytes(b"no archive\n")


def layout_fixtures(root):
    """Folders of torchmil, slideflow and dsmil, and one HDF5 file with a group for each slide."""
    folder = lambda name: (root / name).mkdir(parents=True, exist_ok=True) or root / name
    inst = [np.arange(rows) % 2 for rows in ROWS]
    for slide, rows in enumerate(ROWS):
        x, coords, name = features(slide, rows), places(rows), f"s{slide}"
        np.save(folder("torchmil/features") / f"{name}.npy", x)
        np.save(folder("torchmil/labels") / f"{name}.npy", np.array(slide % 2))
        np.save(folder("torchmil/inst_labels") / f"{name}.npy", inst[slide][:, None])
        np.save(folder("torchmil/coords") / f"{name}.npy", coords)
        for what, array in dict(features=x, labels=np.array([slide % 2]), inst_labels=inst[slide], coords=coords).items():
            with h5py.File(folder(f"torchmil-h5/{what}") / f"{name}.h5", "w") as file:
                file[what] = array
        np.savez(folder("slideflow") / f"{name}.index.npz", coords)
        lines = [",".join(map(str, range(WIDTH))), *(",".join(f"{v:.4f}" for v in row) for row in x)]
        (folder(f"dsmil/{slide % 2}-{['normal', 'tumour'][slide % 2]}") / f"{name}.csv").write_text("\n".join(lines) + "\n")
    (root / "torchmil/splits.csv").write_text("bag_name,split\ns0,train\ns1,val\ns2,test\n")
    # AEGIS: one matrix, and the rows of each slide.
    every = np.concatenate([features(slide, rows) for slide, rows in enumerate(ROWS)])
    every.tofile(folder("aegis") / "uni.bin")
    starts = {f"s{slide}": [sum(ROWS[:slide]), rows] for slide, rows in enumerate(ROWS)}
    about = {"slides": starts, "total_rows": len(every), "feature_dim": WIDTH}
    (root / "aegis/uni.json").write_text(json.dumps(about) + "\n")
    with h5py.File(root / "groups.h5", "w") as file:
        for slide, rows in enumerate(ROWS):
            group = file.create_group(f"s{slide}")
            group["features"], group["coords"] = features(slide, rows).astype(np.float16), places(rows)


def workbook_fixtures(root):
    """The two tables of STAMP as workbooks; the second by hand, as other programs than Excel write them."""
    import openpyxl

    folder = root / "workbooks"
    folder.mkdir(parents=True, exist_ok=True)
    book = openpyxl.Workbook()
    for row in [["PATIENT", "age", "isMSIH"], ["007", 61, "MSIH"], [8, 55.5, "nonMSIH"], ["é & <x>", None, "MSIH"]]:
        book.active.append(row)
    book.create_sheet("notes").append(["not read"])
    book.save(folder / "clini.xlsx")
    cells = lambda row: "".join(f'<x:c t="inlineStr"><x:is><x:t>{value}</x:t></x:is></x:c>' for value in row)
    rows = [["PATIENT", "FILENAME"], ["007", "s0.h5"], ["8", "s1.h5"], ["é &amp; &lt;x&gt;", "s2.h5"]]
    start = '<?xml version="1.0" encoding="UTF-8"?>'
    main = 'xmlns:x="http://schemas.openxmlformats.org/spreadsheetml/2006/main"'
    with zipfile.ZipFile(folder / "slide.xlsx", "w") as file:
        for name, text in {
            "xl/workbook.xml": f'<x:workbook {main}><x:sheets><x:sheet name="a" sheetId="1" r:id="rId7"/></x:sheets></x:workbook>',
            "xl/_rels/workbook.xml.rels": '<Relationships><Relationship Id="rId7" Target="/xl/worksheets/one.xml"/></Relationships>',
            "xl/worksheets/one.xml": f"<x:worksheet {main}><x:sheetData>{''.join(f'<x:row>{cells(row)}</x:row>' for row in rows)}</x:sheetData></x:worksheet>",
        }.items():
            file.writestr(zipfile.ZipInfo(name, (2026, 1, 1, 0, 0, 0)), start + text)


def parquet_fixtures(root):
    """Parquet files of one slide in the ways of several writers, files with the rows of many slides, and tables."""
    import duckdb
    import fastparquet
    import pandas as pd
    import polars as pl
    import pyarrow as pa
    import pyarrow.parquet as pq

    folder = lambda name: (root / name).mkdir(parents=True, exist_ok=True) or root / name
    one, coords = features(1, 3), places(3)
    kinds, bad = folder("parquet"), folder("parquet-bad")
    lists = lambda x, kind=pa.float32(): pa.array([list(row) for row in x], pa.list_(kind))
    xy = lambda coords: {"x": pa.array(coords[:, 0]), "y": pa.array(coords[:, 1])}
    said = {"encoder": "uni_v1", "patch_size_level0": "512", "target_magnification": "20"}
    table = pa.table({"features": lists(one), **xy(coords)}).replace_schema_metadata(said)
    pq.write_table(table, kinds / "list.parquet")
    for packing in ["none", "gzip", "zstd", "lz4"]:
        pq.write_table(table, kinds / f"{packing}.parquet", compression=packing)
    # Pages and groups of a few values: lists go on in the next page, which those of the second version do not.
    small = dict(row_group_size=2, data_page_size=16, write_batch_size=1, max_rows_per_page=1)
    pq.write_table(table, kinds / "pages.parquet", use_dictionary=False, **small)
    pq.write_table(table, kinds / "pages-2.parquet", data_page_version="2.0", **small)
    plain = dict(use_dictionary=False, write_page_checksum=True)
    split = {"features.list.element": "BYTE_STREAM_SPLIT", "x": "DELTA_BINARY_PACKED", "y": "PLAIN"}
    pq.write_table(table, kinds / "split.parquet", column_encoding=split, **plain)
    half = pa.array(list(one.astype(np.float16)), pa.list_(pa.float16(), WIDTH))
    pq.write_table(pa.table({"feats": half, "coords": lists(coords, pa.int64())}), kinds / "half.parquet")
    double = pa.array([list(row) for row in one.astype(float)], pa.large_list(pa.float64()))
    labels = pa.array([0, 1, -1], pa.int8())
    pq.write_table(pa.table({"embedding": double, "patch_labels": labels}), kinds / "double.parquet")
    frame = pd.DataFrame(one, columns=[f"f{at:02}" for at in range(WIDTH)])
    frame[["x", "y"]], frame["tissue"], frame["tile"] = coords, np.float32(0.5), ["a", "b", "c"]
    frame.to_parquet(kinds / "columns.parquet")
    frame.astype({"f01": np.float64}).sample(frac=1, axis=1, random_state=1).to_parquet(kinds / "shuffled.parquet")
    pl.DataFrame({"features": one.tolist(), "x": coords[:, 0], "y": coords[:, 1]}, schema_overrides={"features": pl.List(pl.Float32)}).write_parquet(kinds / "polars.parquet")
    pl.from_pandas(frame).write_parquet(kinds / "polars-columns.parquet")
    shown = pl.DataFrame({"features": one.tolist(), "x": coords[:, 0], "y": coords[:, 1]}, schema_overrides={"features": pl.Array(pl.Float32, WIDTH)})
    duckdb.sql(f"COPY (SELECT features::FLOAT[] AS features, x, y FROM shown) TO '{kinds / 'duckdb.parquet'}' (FORMAT parquet)")
    duckdb.sql(f"COPY (SELECT * FROM frame) TO '{kinds / 'duckdb-columns.parquet'}' (FORMAT parquet, PARQUET_VERSION v2, COMPRESSION zstd)")
    fastparquet.write(str(kinds / "fastparquet.parquet"), frame)
    # The rows of many slides: some in two places, in groups of rows and pages that begin within slides.
    many = folder("parquet-many")
    rows, ids = np.concatenate([features(s, r) for s, r in enumerate(ROWS)]), np.repeat([0, 1, 2], ROWS)
    place = np.concatenate([places(r) for r in ROWS])
    order = np.array([0, 1, 4, 5, 2, 3, 6, 7, 8, 9, 10, 11])
    words = lambda of: pa.array([of[slide] for slide in ids[order]])
    columns = {"slide_id": words(["s0", "s1", "s2"]), "label": words(["b", "a", "b"]), "patient": words([7, 8, 7])}
    of_lists = pa.table({**columns, "features": lists(rows[order]), **xy(place[order])})
    pq.write_table(of_lists, many / "lists.parquet", row_group_size=5, data_page_size=16, write_batch_size=1, use_dictionary=["label"], max_rows_per_page=2)
    pq.write_table(of_lists, many / "lists-2.parquet", row_group_size=5, data_page_version="2.0", max_rows_per_page=2)
    wide = pa.table({**columns, **{str(at): rows[order][:, at] for at in range(WIDTH)}, **xy(place[order])})
    pq.write_table(wide, many / "columns.parquet", row_group_size=7, data_page_size=8, write_batch_size=1, max_rows_per_page=3)
    shards = folder("parquet-shards")
    for number, (start, end) in enumerate([(0, 6), (6, 12)]):
        part = of_lists.drop_columns(["label", "patient"]).slice(start, end - start)
        pq.write_table(part, shards / f"train-{number:05}-of-00002.parquet")
    # Tables.
    tables = folder("parquet-tables")
    days = pd.to_datetime(["2024-02-29", "1969-12-31", None]).date
    frame = pd.DataFrame({"slide_id": ["s0", "s1.svs", "s2"], "label": [1.0, 0.0, None], "case_id": [7, 8, 7], "day": days, "tags": [["x"], [], ["y"]]})
    frame.to_parquet(tables / "labels.parquet")
    texts = pa.table({"slide_id": ["s0", "s1", "s2"], "label": ["tumour", "normal", "tumour"], "split": ["train", "val", "test"]})
    for encoding in ["DELTA_BYTE_ARRAY", "DELTA_LENGTH_BYTE_ARRAY"]:
        name = encoding.lower().replace("_", "-")
        pq.write_table(texts, tables / f"{name}.parquet", use_dictionary=False, column_encoding=encoding)
    pd.DataFrame({"path": ["../parquet/list.parquet", "../parquet/columns.parquet"], "target": [True, False]}).to_parquet(tables / "paths.parquet")
    # What cannot be read.
    write = lambda name, of, **how: pq.write_table(pa.table(of), bad / f"{name}.parquet", **how)
    named = lambda names, x=one: {name: x[:, at] for at, name in enumerate(names)}
    pq.write_table(table, bad / "good.parquet")
    write("constant", {"features": lists(np.zeros((200_000, WIDTH), np.float32))}, compression="zstd")
    write("brotli", {"features": lists(one)}, compression="brotli")
    holes = [list(row) for row in one]
    write("missing-list", {"features": pa.array([holes[0], None, holes[2] + holes[1][:5]], pa.list_(pa.float32()))})
    holes[1][2] = None
    write("missing", {"features": pa.array(holes, pa.list_(pa.float32()))})
    write("ragged", {"features": pa.array([list(one[0, :5]), list(one[1]), [*one[2], 1.0]], pa.list_(pa.float32()))})
    write("uneven", {"features": pa.array([list(one[0, :5]), list(one[1])], pa.list_(pa.float32()))})
    write("nan", {"features": lists(np.where(one == one[1, 2], np.nan, one))})
    write("empty", {"features": lists(one[:0])})
    write("integers", {"features": lists(coords, pa.int64())})
    write("nested", {"features": pa.array([[list(row)] for row in one], pa.list_(pa.list_(pa.float32())))})
    write("gap", named(["f0", "f1", "f2", "f4", "f5", "f6"]))
    write("late", named(["f2", "f3", "f4", "f5", "f6", "f7"]))
    write("several", named(["a0", "a1", "a2", "b0", "b1", "b2"]))
    write("lists", {"uni": lists(one), "conch": lists(one)})
    write("hole", {**named([f"f{at}" for at in range(5)]), "f5": pa.array([1.0, None, 2.0], pa.float32())})
    write("places", {"features": lists(one), "coords": lists(one[:, :4])})
    pq.write_table(table, bad / "checksum.parquet", compression="none", **plain)
    whole = bytearray((bad / "checksum.parquet").read_bytes())
    whole[whole.index(one[:1].tobytes()) + 3] ^= 1
    (bad / "checksum.parquet").write_bytes(whole)
    whole = (bad / "good.parquet").read_bytes()
    (bad / "cut.parquet").write_bytes(whole[: len(whole) // 2])
    (bad / "words.parquet").write_bytes(b"no parquet\n")
    others = folder("parquet-contrary")
    pq.write_table(of_lists.set_column(1, "label", pa.array(["b"] * 3 + ["a"] * 9)), others / "labels.parquet")
    pq.write_table(of_lists.set_column(0, "slide_id", pa.array(["s0", None] + ["s1"] * 10)), others / "unnamed.parquet")


def torch_layout_fixtures(root):
    import torch

    for slide, rows in enumerate(ROWS):
        torch.save(torch.from_numpy(features(slide, rows)), root / "slideflow" / f"s{slide}.pt")


def cohort(folder, seed=7):
    """Slides whose class can be told from a few of their patches, as TRIDENT would leave them."""
    random = np.random.default_rng(seed)
    features_folder = folder / "20x_256px_0px_overlap" / "features_uni_v1"
    features_folder.mkdir(parents=True, exist_ok=True)
    lines, direction = [], random.normal(size=64) / 4
    for patient in range(24):
        tumour = patient % 2
        for slide in range(1 + patient % 3 // 2):
            name, rows = f"slide-{patient:03}-{'AB'[slide]}", int(random.integers(40, 120))
            x = random.normal(size=(rows, 64))
            if tumour:
                x[random.random(rows) < 0.15] += 4 * direction
            side = int(np.ceil(rows**0.5))
            grid = np.stack([np.arange(rows) % side, np.arange(rows) // side], 1) * 512
            trident(features_folder / f"{name}.h5", x.astype(np.float16), grid.astype(np.int64))
            lines.append([f"patient-{patient:03}", f"{name}.svs", ["normal", "tumour"][tumour]])
    with open(folder / "slides.csv", "w", newline="") as file:
        csv.writer(file).writerows([["case_id", "slide_id", "label"], *lines])
    # A division as CLAM writes it: a column for each part, the shorter ones padded.
    parts = {"train": [], "val": [], "test": []}
    for patient, slide, _ in lines:
        part = ["train", "train", "train", "val", "test", "train"][int(patient[-3:]) // 2 % 6]
        parts[part].append(slide.removesuffix(".svs"))
    columns = list(itertools.zip_longest(*parts.values(), fillvalue=""))
    with open(folder / "splits_0.csv", "w", newline="") as file:
        csv.writer(file).writerows([["", *parts], *([row, *ids] for row, ids in enumerate(columns))])


def png(path, pixels):
    """Red, green and blue as a PNG file."""
    height, width, _ = pixels.shape
    rows = b"".join(b"\0" + row.tobytes() for row in pixels.astype(np.uint8))
    chunk = lambda kind, data: struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows, 9)) + chunk(b"IEND", b""))


def hills(random, columns, rows, count, width):
    """A smooth surface: a few Gaussian hills on a grid."""
    y, x = np.mgrid[:rows, :columns]
    surface = np.zeros((rows, columns))
    for _ in range(count):
        cx, cy = random.uniform(0.2, 0.8) * columns, random.uniform(0.2, 0.8) * rows
        surface += np.exp(-((x - cx) ** 2 + (y - cy) ** 2) / (2 * (width * random.uniform(0.6, 1.4)) ** 2))
    return surface


def tissue(folder, seed=11):
    """Slides on whose tissue tumours lie in nests, as TRIDENT would leave them, and a thumbnail of each."""
    random = np.random.default_rng(seed)
    features_folder, thumbnails = folder / "20x_256px_0px_overlap" / "features_uni_v1", folder / "thumbnails"
    features_folder.mkdir(parents=True, exist_ok=True)
    thumbnails.mkdir(exist_ok=True)
    columns, rows, lines = 48, 36, []
    tumour, stroma = random.normal(size=64) / 3, random.normal(size=64) / 3
    for slide in range(40):
        is_tumour = slide % 2
        ground = hills(random, columns, rows, 5, 6) + 0.03 * random.normal(size=(rows, columns))
        inside = ground > 0.35
        nests = hills(random, columns, rows, 3, 2.5) > 0.6
        nests &= inside & bool(is_tumour)
        if is_tumour and not nests.any():
            nests[np.unravel_index(np.argmax(ground), ground.shape)] = True
        fibres = inside & (hills(random, columns, rows, 6, 3) > 0.8)
        y, x = np.nonzero(inside)
        values = random.normal(size=(len(x), 64)) + 2.5 * fibres[inside][:, None] * stroma
        values += 3 * nests[inside][:, None] * tumour
        name = f"slide-{slide:02}"
        coords = np.stack([x, y], 1).astype(np.int64) * 512
        trident(features_folder / f"{name}.h5", values.astype(np.float16), coords)
        lines.append([f"patient-{slide:02}", f"{name}.svs", ["normal", "tumour"][is_tumour]])
        # Eight pixels a patch: white glass, pink tissue, violet nests.
        large = lambda surface: np.kron(surface, np.ones((8, 8)))
        shade = 10 * random.normal(size=(rows * 8, columns * 8))
        picture = np.full((rows * 8, columns * 8, 3), 245.0)
        for where, colour in [(inside, (226, 172, 204)), (fibres, (214, 140, 178)), (nests, (146, 96, 168))]:
            picture[large(where) > 0] = colour
        picture += shade[..., None] * (large(inside) > 0)[..., None]
        png(thumbnails / f"{name}.png", picture.clip(0, 255))
    with open(folder / "slides.csv", "w", newline="") as file:
        csv.writer(file).writerows([["case_id", "slide_id", "label"], *lines])


if __name__ == "__main__":
    match sys.argv[1:]:
        case []:
            where = pathlib.Path(__file__).parent.parent / "tests/readers/slides"
            fixtures(where)
            array_fixtures(where)
            layout_fixtures(where)
            workbook_fixtures(where)
            torch_fixtures(where)
            torch_layout_fixtures(where)
            parquet_fixtures(where)
        case ["parquet"]:
            parquet_fixtures(pathlib.Path(__file__).parent.parent / "tests/readers/slides")
        case ["trident", where]:
            cohort(pathlib.Path(where))
        case ["tissue", where]:
            tissue(pathlib.Path(where))
        case _:
            sys.exit(__doc__)
