"""TF-IDF and its main directions = dense formulas and numpy's SVD."""

import math
from collections import Counter

import numpy as np

from xinglin.data.records import Conversation, Message, Origin
from xinglin.selection.embeddings import Records, tfidf, unit
from xinglin.selection.latent import Counts, Latent, principal_directions, product


def random_counts(seed, texts=40, features=30):
    dense = np.random.default_rng(seed).poisson(0.6, (texts, features)).astype(np.float32)
    dense[3] = 0
    rows, columns = np.nonzero(dense)
    return Counts(rows, columns, dense[rows, columns], texts), dense


def weighted(dense):
    """Sublinear tf, smooth idf, rows of length 1: scikit-learn's TfidfTransformer, term by term."""
    found = np.zeros(dense.shape)
    for text, row in enumerate(dense):
        for feature, count in enumerate(row):
            if count:
                df = int((dense[:, feature] > 0).sum())
                found[text, feature] = (1 + math.log(count)) * (math.log((1 + len(dense)) / (1 + df)) + 1)
        length = math.sqrt((found[text] ** 2).sum())
        found[text] = found[text] / length if length else 0
    return found


def test_products_are_dense_products():
    counts, dense = random_counts(1)
    matrix = np.random.default_rng(2).standard_normal((30, 4)).astype(np.float32)
    np.testing.assert_allclose(product(counts, matrix), dense @ matrix, atol=1e-4)


def test_weights_are_tf_idf():
    counts, dense = random_counts(4)
    latent = Latent.fit(counts, 5, seed=0)
    found = product(latent.weighted(counts), np.eye(len(latent.vocabulary), dtype=np.float32))
    np.testing.assert_allclose(found, weighted(dense)[:, latent.vocabulary], atol=1e-6)


def test_directions_are_singular_vectors():
    random = np.random.default_rng(0)
    spectrum = np.diag(2.0 ** -np.arange(20))
    left, right = (np.linalg.qr(random.standard_normal((size, 20)))[0] for size in (50, 35))
    dense = (left @ spectrum @ right.T).astype(np.float32)
    rows, columns = np.nonzero(dense)
    found = principal_directions(Counts(rows, columns, dense[rows, columns], 50), 35, 6, seed=1)
    _, _, expected = np.linalg.svd(dense)
    np.testing.assert_allclose(np.abs((found * expected[:6].T).sum(axis=0)), 1, atol=1e-4)
    assert (found[np.abs(found).argmax(axis=0), np.arange(6)] > 0).all(), "signs are settled"
    np.testing.assert_allclose(found.T @ found, np.eye(6), atol=1e-5)


def test_nothing_in_common_is_no_direction():
    counts = Counts(np.arange(3), np.arange(3), np.ones(3, np.float32), 3)
    latent = Latent.fit(counts, 4, seed=0)
    assert latent.dimensions == 0 and latent.project(counts).shape == (3, 0)


TEXTS = [
    "高血压吃什么药好",
    "高血压应该吃什么药",
    "骨折以后怎么康复锻炼",
    "骨折后如何康复",
    "Is aspirin safe?",
]


def embedded(texts, **options):
    records = [
        Conversation((Message("user", text), Message("assistant", "好")), Origin("t", 1)) for text in texts
    ]
    config = tfidf.Config(name="tfidf", text="question", **options)

    class Seeded:
        seed = 3

    return tfidf.embed(config, Seeded(), Records(lambda: iter(records), len(records)))


def test_like_texts_are_near():
    texts = TEXTS * 3
    found = embedded(texts, dimensions=4)
    likeness = found @ found.T
    assert likeness[0, 1] > 0.7 > 0.3 > likeness[0, 2] and likeness[2, 3] > 2 * abs(likeness[2, 1])
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-5)
    assert (found == embedded(texts, dimensions=4)).all(), "the same on every run"


def test_counts_are_those_of_runs_of_one_to_three_characters():
    record = Conversation((Message("user", "头痛头痛"), Message("assistant", "x")), Origin("t", 1))
    counts = tfidf._counts([record], tfidf.Config(name="tfidf", text="question"))
    text = "头痛头痛"
    runs = Counter(text[i : i + n] for n in (1, 2, 3) for i in range(len(text) - n + 1))
    assert sorted(counts.values.tolist()) == sorted(map(float, runs.values()))


def test_rows_of_nothing_stay_nothing():
    assert unit(np.zeros((2, 3), np.float32)).tolist() == [[0, 0, 0]] * 2
