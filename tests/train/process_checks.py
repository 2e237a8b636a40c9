"""What two processes check of the functions that they agree by, and of a sharded model; see in_processes.py."""

import torch
import torch.distributed as dist
from torch.distributed.tensor import DTensor

from xinglin.config.tiny import ARCHITECTURES
from xinglin.data.packing import pack_sequences
from xinglin.models import packed as packed_module
from xinglin.models.attention import packed_attention
from xinglin.models.packed import PackedModel
from xinglin.models.tiny import build_tiny
from xinglin.models.tokenizer import train_tokenizer
from xinglin.train import checkpoint, processes, sharding


def agreeing(folder):
    """Rows come in the order of processes; the first decides, makes, and is not waited for twice."""
    rank = dist.get_rank()
    assert processes.gather_rows([(rank, "行")] * (rank + 1)) == [(0, "行"), (1, "行"), (1, "行")]
    assert processes.gather_rows([]) == []
    assert processes.any_process(rank == 1) and not processes.any_process(False)
    assert processes.by_first(lambda: f"said by {rank}") == "said by 0"
    made = folder / "made"
    with processes.first_alone():
        assert made.exists() == (rank == 1)
        made.write_text("by the first")
    processes.wait()


def sharded(folder):
    """Parts in each process; the same loss by the same way, generation alone, and whole tensors to be saved."""
    accelerator = processes.open_accelerator("fp32")
    tokenizer = train_tokenizer(["一二三四五六七八九十" * 9], vocabulary=300)
    for architecture in ARCHITECTURES:
        twin, model = (PackedModel(build_tiny(f"tiny:{architecture}:64x2", tokenizer, seed=1)) for _ in "ab")
        sharding.shard(model, accelerator)
        assert all(isinstance(each, DTensor) for each in model.parameters())
        local = sum(each.to_local().numel() for each in model.parameters())
        assert local < 0.6 * sum(each.numel() for each in twin.parameters())
        _same_loss(model, twin)
        _same_answers(model, twin, tokenizer)
        found = checkpoint.trainable_weights(model, keep=dist.get_rank() == 0)
        for name, tensor in found.items():
            assert torch.equal(tensor, dict(twin.named_parameters())[name]), name
        with sharding.plain(model, keep=dist.get_rank() == 0):
            if dist.get_rank() == 0:
                model.core.save_pretrained(folder / architecture)
                assert type(model) is PackedModel
        assert all(isinstance(each, DTensor) for each in model.parameters())
        _same_loss(model, twin)


def _same_loss(model, twin):
    """The head is a plain matrix in a sharded pass too, so that the fused loss is taken."""
    batch = pack_sequences(
        [(torch.arange(n).numpy(), torch.ones(n, dtype=torch.bool).numpy()) for n in (7, 12)]
    )
    seen = []
    fused = packed_module.linear_nll

    def spy(hidden, weight, *rest):
        seen.append(type(weight))
        return fused(hidden, weight, *rest)

    packed_module.linear_nll = spy
    try:
        with torch.no_grad():
            losses = []
            for each in (model, twin):
                with packed_attention(each.core):
                    losses.append(each(batch))
    finally:
        packed_module.linear_nll = fused
    torch.testing.assert_close(*losses)
    assert seen == [torch.nn.Parameter] * 2


def _same_answers(model, twin, tokenizer):
    """Each process asks something else, of another length: nobody waits for the other."""
    rank = dist.get_rank()
    ids = tokenizer("一二三" * (rank + 1), return_tensors="pt").input_ids
    asked = {"do_sample": False, "max_new_tokens": 4 + 3 * rank, "pad_token_id": 0, "eos_token_id": -1}
    with torch.no_grad(), sharding.put_together(model):
        found = model.core.generate(ids, **asked)
    assert torch.equal(found, twin.core.generate(ids, **asked))
