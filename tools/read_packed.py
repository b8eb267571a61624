#!/usr/bin/python3
"""Reads a packed file (docs/packed.md) without bagrad: prints what it has and checks every checksum.

    tools/read_packed.py uni.bags
"""

import json
import sys
import zlib

import numpy as np

MAGIC = b"\x89BAGS\r\n\x1a"


def number(data, start, size=8):
    return int.from_bytes(data[start : start + size], "little")


def check(what, data, wanted):
    if zlib.crc32(data) != wanted:
        sys.exit(f"{what} is damaged: the checksum is another")


def main(path):
    data = np.memmap(path, np.uint8, "r")
    head = data[:128].tobytes()
    if not head.startswith(MAGIC) or number(head, 8, 4) != 1:
        sys.exit("this is no packed file of version 1")
    check("the header", head[:124], number(head, 124, 4))
    bits, width, stride, slides, rows, at, size = [
        number(head, start, 4 if start == 12 else 8) for start in (12, 16, 24, 32, 40, 48, 56)
    ]
    if at == 0 or at + size != len(data):
        sys.exit("the file is not complete")
    check("the index", data[at:], number(head, 64, 4))
    index = json.loads(data[at:].tobytes())
    ends = [slide["at"] for slide in index["slides"][1:]] + [at]
    for number_of, (slide, end) in enumerate(zip(index["slides"], ends)):
        check(f"slide {slide['name']}", data[slide["features"] : end], slide["crc32"])
        shape = (slide["rows"], stride)
        features = np.memmap(path, f"<f{bits // 8}", "r", slide["features"], shape)[:, :width]
        label = (index.get("labels") or [None] * slides)[number_of]
        print(slide["name"], features.shape, features.dtype, "-" if label is None else index["classes"][label],
              f"mean {features.astype(np.float64).mean():.6g}")
        if slide["coords"]:
            places = np.memmap(path, "<f4", "r", slide["coords"], (slide["rows"], 2))
            print("   places from", places.min(0), "to", places.max(0), slide.get("unit"))
    assert rows == sum(slide["rows"] for slide in index["slides"])


if __name__ == "__main__":
    main(sys.argv[1])
