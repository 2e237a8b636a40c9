"""xinglin on the jobs of ``data.py``.

    python benchmarks/contenders/data_ours.py FOLDER SETTING

``import``   rows in, each checked and accounted for; token shards out
``chain``    the same, and cleaned, looked through for personal data, copies and leaks, copies removed
``build``    the chain up to the finished splits, which is all but the tokens
``clean``    cleaned and copies removed, nothing else
``copies``   copies removed, nothing else
``check``    ``xinglin data check``

Timed: all of it in one process, without imports and loading the tokenizer.
"""

import gc
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from job import Job

OFF = {"mode": "off"}
COPIES = {"duplicates": {"mode": "remove"}}
CLEAN = {"clean": "standard", **COPIES}
RULES: dict[str, dict[str, Any]] = {
    "import": {"deidentify": OFF, "duplicates": OFF, "leaks": OFF},
    "chain": CLEAN,
    "build": CLEAN,
    "clean": {**CLEAN, "deidentify": OFF, "leaks": OFF},
    "copies": {**COPIES, "deidentify": OFF, "leaks": OFF},
}


def main() -> None:
    job = Job()
    work = check(job) if job.setting == "check" else build(job, tokens=job.setting in ("import", "chain"))
    gc.freeze()  # as the process has it in which ``xinglin run`` runs a stage
    job.spent(work)()
    job.report()


def check(job: Job) -> Callable[[], object]:
    import xinglin
    from xinglin.data import checking  # noqa: F401, imports are not timed

    paths = [source["path"] for split in job.facts["splits"].values() for source in split["sources"]]
    return lambda: xinglin.check(*paths, tokenizer=job.model)


def build(job: Job, *, tokens: bool) -> Callable[[], object]:
    from xinglin.data.building import Builder, Rulebook, Split
    from xinglin.data.dataset import describe_split, tokenise_splits
    from xinglin.models.tokenizer import load_tokenizer

    tokenizer: Any = load_tokenizer(job.model)
    out = Path(tempfile.mkdtemp(dir=job.folder))
    rules = Rulebook.model_validate(RULES[job.setting])
    splits = {name: Split.model_validate(split) for name, split in job.facts["splits"].items()}
    builder = Builder(rules, folder=out, scratch=out / "scratch", seed=0)

    def work() -> None:
        parts = builder.build(splits).parts
        facts = {
            part.file.name: describe_split(part.draft.record_kind, records=part.records, held_out=False)
            for part in parts
        }
        if tokens:
            tokenise_splits(out, tokenizer, facts, max_tokens=1 << 16, policy="split")

    return work


if __name__ == "__main__":
    main()
