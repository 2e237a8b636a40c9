"""Benchmarks: what a model is asked, and how its answers are scored. One file each, with no engine in it.

A benchmark ``NAME.py`` has

    RECORD                         the kind of record it takes: ``question``, ``conversation``, …
    COMPARED                       {score: "higher" | "lower"}: the scores tested between models, and which is better
    class Config(BenchmarkConfig)  its options, with ``name: Literal["NAME"]``
    items(record, config)          -> list[Item]: what to ask about one record; DataError for one it cannot use
    score(item, output, config)    -> Verdict on the answer to one item

Metrics follow from the scores: ``<label>.<score>`` is their mean over the samples, with a Wilson interval where
they are booleans and a bootstrap interval where they are numbers.
"""
