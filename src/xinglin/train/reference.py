"""Log-probabilities of answers under the reference model: once before training, or with the adapter switched off."""

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from xinglin.data.packing import Ints, Packed, Plan, pack
from xinglin.data.shards import Shards
from xinglin.models.adapter import weights_fingerprint
from xinglin.models.packed import sequence_sums
from xinglin.runtime.progress import progress
from xinglin.train import processes
from xinglin.train.batches import turns
from xinglin.train.session import Session


@contextmanager
def measuring(model: nn.Module) -> Iterator[None]:
    """Within, ``model`` has neither gradient nor dropout."""
    training = model.training
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        model.train(training)


@contextmanager
def without_adapter(model: nn.Module) -> Iterator[None]:
    """Within, ``model`` (a ``PackedModel``, wrapped or not) is its own base, without gradient or dropout."""
    adapted: Any = getattr(model, "module", model).model
    with measuring(model), adapted.disable_adapter():
        yield


def reference_log_probs(session: Session, shards: Shards, steps: Plan | None = None) -> Tensor:
    """(sequences,) log-probability of each sequence's trained tokens under the reference, summed.

    ``steps``: nan for the sequences that none of these takes, which saves their computation.
    """
    used = np.arange(len(shards)) if steps is None else steps.sequences()
    view = shards.only(used)
    every = torch.full((len(shards),), torch.nan)
    every[torch.from_numpy(used)] = summed_log_probs(
        session,
        session.plan(view, training=False),
        lambda indices: pack(view, indices, share=session.share),
        number=len(view),
        content=f"{shards.folder.name} {hashlib.sha256(used.tobytes()).hexdigest()}",
    )
    return every


def summed_log_probs(
    session: Session, plan: Plan, pack: Callable[[Ints], Packed], *, number: int, content: str
) -> Tensor:
    """(number,) log-probability of each packed sequence under the model that training starts from.

    Kept in ``scratch``, so that a resumed run compares with the same numbers.

    Args:
        content: tells these sequences from others.
    """
    facts = f"{content} {weights_fingerprint(session.base)} {session.accelerator.mixed_precision}"
    path = session.run.scratch / f"reference-{hashlib.sha256(facts.encode()).hexdigest()[:16]}.safetensors"
    if processes.by_first(path.is_file):
        return load_file(path)["log_probs"]
    device = session.accelerator.device
    model = session.model.to(device)
    result = torch.zeros(number, device=device)
    # An adapter that is trained on has its own base as the reference; a fresh one changes nothing yet.
    plain = without_adapter(model) if session.config.continue_ == "same" else nullcontext()
    with measuring(model), plain, session.accelerator.autocast(), progress(len(plan), "reference") as bar:
        for step in range(len(plan)):
            for indices, share in turns(plan[step], session.accelerator):
                packed = pack(indices).to(device)
                result[torch.from_numpy(indices)] += share * sequence_sums(
                    model(packed, want="log_probs"), packed
                )
            bar.advance(1)
    found: Any = session.accelerator.reduce(result, "sum")
    log_probs: Tensor = found.cpu()
    if session.accelerator.is_main_process:
        path.parent.mkdir(parents=True, exist_ok=True)
        aside = path.with_suffix(".tmp")
        save_file({"log_probs": log_probs}, aside)
        aside.replace(path)
    return log_probs
