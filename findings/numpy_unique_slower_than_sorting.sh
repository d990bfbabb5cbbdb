#!/usr/bin/env bash
# np.unique of integers that are mostly distinct is five times as slow as the same call that is asked for more.
#
# Versions:  numpy 2.4.6, and 2.2.6 beside it (Linux x86-64, Python 3.11). Seen on 2026-11-29.
# Expected:  np.unique(x) sorts, and return_index=True, which needs a stable sort and the indices, takes longer: so it
#            was up to 2.2. The hash table that took its place in 2.3 was to be faster.
# Behaviour: it is, where values repeat. Where they are mostly distinct, as hashes and n-grams are, the plain call takes
#            five times as long as the one with return_index, and here 75 times as long as np.sort. In 2.2.6 it takes
#            about as long as np.sort.
# Cause:     the table of all distinct values is larger than any cache, each look-up of it misses, and what comes out is
#            sorted in the end all the same (numpy/_core/src/multiarray/unique.cpp). return_index, return_inverse and
#            return_counts still take the way of before.
# Matters:   counting n-grams, leaving out copies by a hash, merging vocabularies: seconds become minutes by an update.
#            np.sort and a comparison with the neighbour, or return_index=True, is what np.unique was.
#
# Output (4 million 64-bit integers, seconds, on two cores of an AMD EPYC; the ratios are what is tested):
#                  distinct: unique   with return_index   sort      100 values: unique   with return_index
#   numpy 2.4.6              6.2                  1.1     0.08                   0.14                  0.7
#   numpy 2.2.6              0.2                  1.4     0.13                   0.05                  0.7
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
echo "               distinct: unique   with return_index   sort      100 values: unique   with return_index"
for version in 2.4.6 2.2.6; do
  python3 -m venv "$folder/$version"
  "$folder/$version/bin/pip" install -q --no-compile "numpy==$version"
  "$folder/$version/bin/python" - <<'PY'
import time

import numpy as np


def seconds(call):
    best = float("inf")
    for _ in range(3):
        start = time.perf_counter()
        call()
        best = min(best, time.perf_counter() - start)
    return best


random = np.random.default_rng(0)
distinct, repeated = random.integers(-(2**63), 2**63 - 1, 4_000_000), random.integers(0, 100, 4_000_000)
assert (np.unique(distinct) == np.unique(distinct, return_index=True)[0]).all()
sort = seconds(lambda: np.sort(distinct))
plain, more = (seconds(lambda: np.unique(distinct, return_index=index)) for index in (False, True))
few, few_more = (seconds(lambda: np.unique(repeated, return_index=index)) for index in (False, True))
print(f"numpy {np.__version__:8} {plain:14.2f} {more:19.2f} {sort:8.2f} {few:22.2f} {few_more:21.2f}")
assert few < few_more
if np.__version__ == "2.2.6":
    assert plain < more / 2 and plain < 5 * sort
else:
    assert plain > 2 * more and plain > 5 * sort, "the plain call is as fast as the other now"
PY
done
