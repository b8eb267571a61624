#!/usr/bin/env python3
"""Make src/data/digits/digits.bin.gz from scikit-learn's digits.csv.gz.

    python3 tools/make_digits.py SOURCE [TARGET]

SOURCE is a scikit-learn wheel, or digits.csv.gz itself: 1797 lines of 64 values (0..16, an 8 x 8 image
row by row) and the digit. TARGET gets, gzip-compressed, 1797 * 64 bytes of values and then 1797 bytes of
digits. The output depends on SOURCE alone (no time stamp).
"""

import gzip
import pathlib
import sys
import zipfile

MEMBER = "sklearn/datasets/data/digits.csv.gz"
IMAGES, PIXELS = 1797, 64


def main():
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    source = pathlib.Path(sys.argv[1])
    default = pathlib.Path(__file__).resolve().parent.parent / "src/data/digits/digits.bin.gz"
    target = pathlib.Path(sys.argv[2]) if len(sys.argv) == 3 else default
    if zipfile.is_zipfile(source):
        packed = zipfile.ZipFile(source).read(MEMBER)
    else:
        packed = source.read_bytes()
    values, digits = bytearray(), bytearray()
    for number, line in enumerate(gzip.decompress(packed).decode().splitlines()):
        row = [int(float(field)) for field in line.split(",")]
        if len(row) != PIXELS + 1 or not all(0 <= v <= 16 for v in row[:-1]) or not 0 <= row[-1] <= 9:
            sys.exit(f"{source}: line {number + 1} is not 64 values of 0..16 and a digit")
        values += bytes(row[:-1])
        digits.append(row[-1])
    if len(digits) != IMAGES:
        sys.exit(f"{source}: expected {IMAGES} images, found {len(digits)}")
    target.write_bytes(gzip.compress(bytes(values + digits), 9, mtime=0))
    print(f"{target}: {target.stat().st_size} bytes")


if __name__ == "__main__":
    main()
