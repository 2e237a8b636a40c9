"""Near-duplicate search beside datasketch: CPU-seconds and F1 on planted copies, at 1, 4 and 16 times the rows.

    python benchmarks/duplicates.py [--rows N] [--data FOLDER]

Both get the same texts: public medical data of ``../shared/data/train`` where it is there, else generated ones,
without their own duplicates; a fifth of them again as a copy with an edit. Both look for a Jaccard similarity of
0.8 of the same 5-grams with 128 values a text, in one process and one thread. Ours is timed from the text to the
clusters; datasketch, with the fastest hash it can be given, from its n-grams on. It runs as it comes, and with our
bands. A pair is found when both texts are in one cluster; F1 counts every pair in a cluster that is not a planted
one as wrong.
"""

import argparse
import os
import random
import tempfile
from collections import Counter
from collections.abc import Callable
from itertools import combinations
from pathlib import Path
from time import process_time
from typing import NamedTuple

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import xxhash
from datasketch import MinHash, MinHashLSH

from xinglin.data.accounting import Quarantine, SourceAccount
from xinglin.data.copies.duplicates import LEAST_GRAMS, NGRAM
from xinglin.data.copies.fingerprints import compared, fold
from xinglin.data.copies.sketches import PLACES, band_size, cluster_near, sketch
from xinglin.data.sources import Source, files, read
from xinglin.errors import DataError

THRESHOLD = 0.8
CHUNK = 500
DATA = Path(__file__).parents[2] / "shared/data/train"


class Planted(NamedTuple):
    texts: list[str]
    pairs: dict[tuple[int, int], str]
    """(original, copy) -> how it was edited."""


class Found(NamedTuple):
    seconds: float
    clusters: list[int]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=16_000, help="originals at 16x")
    parser.add_argument("--data", type=Path, default=DATA)
    arguments = parser.parse_args()
    originals, source = load(arguments.data, arguments.rows)
    print(f"{len(originals)} texts, {sum(map(len, originals)) / 1e6:.1f} million characters, {source}")
    find_ours(originals[:100])  # tables are made once in a process
    for factor in (1, 4, 16):
        planted = plant(originals[: len(originals) * factor // 16])
        characters = sum(map(len, planted.texts))
        print(f"\n{factor}x: {len(planted.texts)} texts, {characters / 1e6:.2f} million characters")
        results = {"xinglin": find_ours(planted.texts)} | find_theirs(planted.texts)
        for name, found in results.items():
            speed = characters / found.seconds / 1e6
            print(
                f"  {name:24} {found.seconds:7.2f} CPU-s  {speed:6.2f} M characters/s  F1 {f1(found, planted):.3f}"
            )
    print("\nshare of copies found at 16x, by edit")
    kinds = Counter(planted.pairs.values())
    for kind in sorted(kinds):
        shares = [recall(found, planted, kind) for found in results.values()]
        print(f"  {kind:24}" + "".join(f"{share:8.2f}" for share in shares))


def load(folder: Path, rows: int) -> tuple[list[str], str]:
    """Texts that are not near duplicates of one another."""
    texts, source = public(folder), "public medical data"
    if not texts:
        texts, source = generated(2 * rows), "generated"
    random.Random(1).shuffle(texts)
    texts = [text for text in texts if 60 <= len(text) <= 20_000][: 2 * rows]
    clusters = find_ours(texts, threshold=0.5).clusters
    return [text for at, text in enumerate(texts) if clusters[at] == at][:rows], source


def public(folder: Path) -> list[str]:
    texts = []
    with tempfile.TemporaryDirectory() as aside, Quarantine(Path(aside) / "quarantine.jsonl") as quarantine:
        for path in files(Source(path=str(folder))) if folder.is_dir() else []:
            try:
                records = list(
                    read(Source(path=str(path)), kind=None, account=SourceAccount(), quarantine=quarantine)
                )
            except DataError:
                continue  # a file that holds no records, such as a README
            texts += [compared(record) for record in records]
    return texts


def generated(rows: int) -> list[str]:
    generator = random.Random(2)
    words = ["".join(generator.choices([chr(0x4E00 + at) for at in range(1500)], k=2)) for _ in range(4000)]
    return ["".join(generator.choices(words, k=generator.randint(30, 300))) for _ in range(rows)]


def plant(originals: list[str]) -> Planted:
    generator = random.Random(3)
    texts, pairs = list(originals), {}
    kinds = list(EDITS)
    for number, at in enumerate(generator.sample(range(len(originals)), len(originals) // 5)):
        kind = kinds[number % len(kinds)]
        pairs[at, len(texts)] = kind
        texts.append(EDITS[kind](originals[at], generator))
    return Planted(texts, pairs)


def replaced(text: str, generator: random.Random, share: float, length: int = 1) -> str:
    for _ in range(max(1, round(share * len(text) / length))):
        at = generator.randrange(len(text))
        new = "".join(generator.choices(text, k=length))
        text = text[:at] + new + text[at + length :]
    return text


def inserted(text: str, generator: random.Random, share: float) -> str:
    for _ in range(max(1, round(share * len(text)))):
        at = generator.randrange(len(text))
        text = text[:at] + generator.choice(text) + text[at:]
    return text


EDITS: dict[str, Callable[[str, random.Random], str]] = {
    "0.5 % typos": lambda text, generator: replaced(text, generator, 0.005),
    "1 % typos": lambda text, generator: replaced(text, generator, 0.01),
    "2 % typos": lambda text, generator: replaced(text, generator, 0.02),
    "1 % insertions": lambda text, generator: inserted(text, generator, 0.01),
    "2 % synonyms": lambda text, generator: replaced(text, generator, 0.02, length=2),
    "last tenth cut off": lambda text, generator: text[: len(text) * 9 // 10],
    "words around it": lambda text, generator: f"您好，{text}祝您早日康复！",
}


def find_ours(texts: list[str], threshold: float = THRESHOLD) -> Found:
    started = process_time()
    sketches, sizes = [], []
    for at in range(0, len(texts), CHUNK):
        part = texts[at : at + CHUNK]
        grams = fold(part).units().grams(NGRAM)
        sizes.append(np.bincount(grams.owners, minlength=len(part)))
        sketches.append(sketch(grams, count=len(part)))
    rows = np.flatnonzero(np.concatenate(sizes) >= LEAST_GRAMS)
    clusters = cluster_near(np.concatenate(sketches), rows, np.arange(len(texts)), threshold=threshold)
    return Found(process_time() - started, clusters.tolist())


def find_theirs(texts: list[str]) -> dict[str, Found]:
    bands = band_size(THRESHOLD)
    indexes = {
        "datasketch": MinHashLSH(threshold=THRESHOLD, num_perm=PLACES),
        f"datasketch, {PLACES // bands} bands of {bands}": MinHashLSH(
            num_perm=PLACES, params=(PLACES // bands, bands)
        ),
    }
    empty = MinHash(num_perm=PLACES, hashfunc=xxhash.xxh32_intdigest)
    hashes: list[MinHash] = []
    hashing = 0.0
    for text in texts:
        grams = grams_of(text)
        started = process_time()
        hashes.append(empty.copy())
        hashes[-1].update_batch(grams)
        hashing += process_time() - started
    found = {}
    for name, index in indexes.items():
        started = process_time()
        parent = list(range(len(texts)))
        for number, values in enumerate(hashes):
            for other in index.query(values):
                if values.jaccard(hashes[other]) >= THRESHOLD:
                    unite(parent, number, other)
            index.insert(number, values)
        clusters = [root(parent, number) for number in range(len(texts))]
        found[name] = Found(hashing + process_time() - started, clusters)
    return found


def grams_of(text: str) -> list[bytes]:
    """The same 5-grams, as bytes."""
    units = fold([text]).units().hashes
    grams = np.lib.stride_tricks.sliding_window_view(units, NGRAM) if len(units) >= NGRAM else []
    return list({gram.tobytes() for gram in grams})


def unite(parent: list[int], left: int, right: int) -> None:
    left, right = root(parent, left), root(parent, right)
    parent[max(left, right)] = min(left, right)


def root(parent: list[int], number: int) -> int:
    while parent[number] != number:
        parent[number] = number = parent[parent[number]]
    return number


def f1(found: Found, planted: Planted) -> float:
    members: dict[int, list[int]] = {}
    for number, cluster in enumerate(found.clusters):
        members.setdefault(cluster, []).append(number)
    pairs = {pair for cluster in members.values() for pair in combinations(cluster, 2)}
    right = len(pairs & planted.pairs.keys())
    return 2 * right / (len(pairs) + len(planted.pairs))


def recall(found: Found, planted: Planted, kind: str) -> float:
    of = [pair for pair, edit in planted.pairs.items() if edit == kind]
    return sum(found.clusters[left] == found.clusters[right] for left, right in of) / len(of)


if __name__ == "__main__":
    main()
