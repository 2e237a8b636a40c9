"""data-juicer on the job ``clean`` of ``data.py``.

    PYTHON_OF_DATA_JUICER benchmarks/contenders/with_data_juicer.py FOLDER SETTING

``clean``: its operators that come closest to xinglin's standard cleaning, and ``copies``, which is its MinHash search
with the same length of n-grams, number of values and threshold. Timed: from the file to the last operator, without
imports, which operators do when they are first run: so all are run once on ten rows before. Its cache is empty.
"""

import os
from typing import Any

from job import Job

COPIES = "document_minhash_deduplicator"
OPERATORS: dict[str, dict[str, Any]] = {
    "fix_unicode_mapper": {},
    "whitespace_normalization_mapper": {},
    "clean_links_mapper": {},
    "clean_html_mapper": {},
    "text_length_filter": {"min_len": 10, "max_len": 1_000_000},
    "character_repetition_filter": {"rep_len": 10, "max_ratio": 0.5},
    "special_characters_filter": {"max_ratio": 0.5},
    "alphanumeric_filter": {"tokenization": False, "min_ratio": 0.1},
    COPIES: {
        "tokenization": "character",
        "window_size": 5,
        "num_permutations": 128,
        "jaccard_threshold": 0.8,
    },
}


def main() -> None:
    job = Job()
    import datasets
    from data_juicer.core.data import NestedDataset
    from data_juicer.ops import load_ops

    asked = {COPIES: OPERATORS[COPIES]} if job.setting == "copies" else OPERATORS
    rows = str(job.folder / "texts.jsonl")
    cache = os.environ["HF_DATASETS_CACHE"]

    def cleaned(part: str) -> Any:
        operators = load_ops([{name: given} for name, given in asked.items()])
        for operator in operators:
            # One process, as all have; of any other the time would not be seen.
            operator.runtime_np = lambda: None
        found = datasets.load_dataset("json", data_files=rows, split=part, cache_dir=f"{cache}{part}")
        return NestedDataset(found).process(operators, open_monitor=False)

    cleaned("train[:10]")
    job.spent(cleaned)("train")
    job.report()


if __name__ == "__main__":
    main()
