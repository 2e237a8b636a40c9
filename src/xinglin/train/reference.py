"""Log-probabilities of preference answers under the model that training starts from, computed once."""

import hashlib

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from xinglin.data.packing import pack
from xinglin.data.shards import Shards
from xinglin.models.adapter import weights_fingerprint
from xinglin.models.packed import sequence_sums
from xinglin.runtime.progress import progress
from xinglin.train.session import Session


def reference_log_probs(session: Session, shards: Shards) -> Tensor:
    """(sequences,) summed log-probability of each sequence's trained tokens before the first step.

    Kept in ``scratch``, so that a resumed run compares with the same numbers.
    """
    facts = f"{shards.folder.name} {weights_fingerprint(session.base)} {session.accelerator.mixed_precision}"
    path = session.run.scratch / f"reference-{hashlib.sha256(facts.encode()).hexdigest()[:16]}.safetensors"
    if path.is_file():
        return load_file(path)["log_probs"]
    plan = session.plan(shards, training=False)
    result = torch.zeros(len(shards))
    model = session.model.to(session.accelerator.device).eval()
    with torch.no_grad(), session.accelerator.autocast(), progress(len(plan), "reference") as bar:
        for number in range(len(plan)):
            for micro_batches in plan[number].micro_batches:
                for indices in micro_batches:
                    packed = pack(shards, indices, share=session.share).to(session.accelerator.device)
                    sums = sequence_sums(model(packed, want="log_probs"), packed)
                    result[torch.from_numpy(indices)] = sums.float().cpu()
            bar.advance(1)
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_suffix(".tmp")
    save_file({"log_probs": result}, aside)
    aside.replace(path)
    return result
