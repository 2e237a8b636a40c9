"""LoRA SFT of 8B-shaped random models on one GPU: how near the hardware limit, and how true the memory forecast.

    python benchmarks/gpu.py                 speed, beside TRL; needs about 60 GiB
    python benchmarks/gpu.py --grid          memory: forecast and measurement over a grid
    python benchmarks/gpu.py --smoke         the same code on tiny models, with or without a GPU: no figures

Speed is useful tokens per second times the minimal floating-point operations per token (no recomputation, logits of
trained tokens only), over the speed of one large bf16 matrix product measured in the same run. Documents are 2,048
tokens, every token trained, packed into 8,192 tokens a pass. Models are random: the arithmetic is the same.
"""

import argparse
import itertools
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch

DOCUMENT, PASS, STEPS, WARM = 2048, 8192, 10, 3


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--grid", action="store_true", help="forecast and measured memory over a grid")
    parser.add_argument("--smoke", action="store_true", help="tiny models: shows that the code runs")
    parser.add_argument("--rank", type=int, default=16)
    arguments = parser.parse_args()
    if not torch.cuda.is_available() and not arguments.smoke:
        raise SystemExit("no CUDA GPU here; run this on one, or add --smoke to see that the code runs")
    (grid if arguments.grid else speed)(arguments)


def shapes(smoke: bool) -> dict[str, Any]:
    from transformers import LlamaConfig, Qwen3Config

    small = {"hidden_size": 128, "intermediate_size": 256, "num_hidden_layers": 2, "vocab_size": 512}
    small |= {"num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 32}
    eight = {"hidden_size": 4096, "num_attention_heads": 32, "num_key_value_heads": 8, "head_dim": 128}
    qwen = {"intermediate_size": 12288, "num_hidden_layers": 36, "vocab_size": 151936}
    llama = {"intermediate_size": 14336, "num_hidden_layers": 32, "vocab_size": 128256}
    return {
        "Qwen3-8B": Qwen3Config(**(small if smoke else eight | qwen), tie_word_embeddings=False),
        "Llama-3.1-8B": LlamaConfig(**(small if smoke else eight | llama), tie_word_embeddings=False),
    }


def build(config: Any) -> Any:
    from transformers import AutoModelForCausalLM

    cuda = torch.cuda.is_available()
    with torch.device("cuda" if cuda else "cpu"):
        return AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16 if cuda else torch.float32)


def documents(config: Any, count: int, length: int) -> list[np.ndarray]:
    return list(np.random.default_rng(0).integers(10, config.vocab_size, size=(count, length)))


def speed(arguments: argparse.Namespace) -> None:
    from xinglin.train.duration import matmul_flops_per_second
    from xinglin.train.memory import Shape, Work, flops

    cuda = torch.cuda.is_available()
    ceiling = matmul_flops_per_second(torch.bfloat16 if cuda else torch.float32)
    print(f"one large matrix product: {ceiling / 1e12:,.1f} TFLOP/s")
    for name, config in shapes(arguments.smoke).items():
        minimal = flops(
            Shape.of(config),
            Work(PASS, lora_rank=arguments.rank),
            mean_length=DOCUMENT / 2,
            trained_share=1.0,
        )
        for contender in (xinglin, trl):
            try:
                tokens_per_second, peak = contender(config, arguments.rank, arguments.smoke)
            except torch.OutOfMemoryError:
                print(f"{name:14}{contender.__name__:10} out of memory")
                continue
            ratio = tokens_per_second * minimal / ceiling
            print(
                f"{name:14}{contender.__name__:10}{tokens_per_second:10,.0f} tokens/s  {ratio:.2f} of the limit  "
                f"{peak / 2**30:.1f} GiB"
            )


def length_of_pass(smoke: bool) -> tuple[int, int]:
    return (64, 256) if smoke else (DOCUMENT, PASS)


def lora_model(config: Any, rank: int) -> Any:
    from xinglin.config.parts import Lora
    from xinglin.models.kernels import fuse
    from xinglin.models.lora import add_lora
    from xinglin.models.packed import PackedModel

    core = build(config)
    core.config.use_cache = False
    fuse(core)
    return PackedModel(add_lora(core, Lora(rank=rank, alpha=2 * rank), seed=0))


def xinglin(config: Any, rank: int, smoke: bool) -> tuple[float, int]:
    from xinglin.models.attention import packed_attention

    length, size = length_of_pass(smoke)
    model = lora_model(config, rank)
    with packed_attention(model.core):
        step = stepper(model, packed(config, size // length, length), "adamw")
        return timed(step, size)


def packed(config: Any, count: int, length: int) -> Any:
    from xinglin.data.packing import pack_sequences

    device = "cuda" if torch.cuda.is_available() else "cpu"
    rows = documents(config, count, length)
    return pack_sequences([(row, np.ones(len(row), dtype=bool)) for row in rows]).to(device)


def stepper(model: Any, batch: Any, optimizer_name: str) -> Callable[[], None]:
    """One optimizer step as the loop takes it."""
    from xinglin.config.parts import Optimizer
    from xinglin.train.optim import build_optimizer

    device = next(model.parameters()).device
    optimizer = build_optimizer(model, Optimizer(name=optimizer_name))  # type: ignore[arg-type]

    def step() -> None:
        with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
            loss = model(batch)
        (loss / len(batch.targets)).backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return step


def timed(step: Callable[[], None], tokens: int) -> tuple[float, int]:
    """Useful tokens per second after warming up, and the peak of allocated bytes."""
    cuda = torch.cuda.is_available()
    for _ in range(WARM):
        step()
    if cuda:
        torch.cuda.synchronize()
    start = time.perf_counter()
    for _ in range(STEPS):
        step()
    if cuda:
        torch.cuda.synchronize()
    seconds = time.perf_counter() - start
    return tokens * STEPS / seconds, torch.cuda.max_memory_allocated() if cuda else 0


def trl(config: Any, rank: int, smoke: bool) -> tuple[float, int]:
    """TRL's trainer at its best without contamination: packed, no checkpointing, bf16, its own fused head."""
    from datasets import Dataset
    from peft import LoraConfig
    from transformers import PreTrainedTokenizerFast, TrainerCallback
    from trl import SFTConfig, SFTTrainer

    length, size = length_of_pass(smoke)
    per_step = size // length
    rows = [row.tolist() for row in documents(config, per_step * (WARM + STEPS), length)]
    clock: list[float] = []

    class Clock(TrainerCallback):
        def on_step_end(self, *unused: Any, **more: Any) -> None:
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            clock.append(time.perf_counter())

    with tempfile.TemporaryDirectory() as folder:
        trainer = SFTTrainer(
            build(config),
            args=SFTConfig(
                output_dir=folder,
                per_device_train_batch_size=per_step,
                max_length=None,
                padding_free=True,
                gradient_checkpointing=False,
                bf16=torch.cuda.is_available(),
                use_cpu=not torch.cuda.is_available(),
                report_to="none",
                save_strategy="no",
                logging_strategy="no",
                num_train_epochs=1,
            ),
            train_dataset=Dataset.from_dict({"input_ids": rows}),
            processing_class=_tokenizer(config, Path(folder), PreTrainedTokenizerFast),
            peft_config=LoraConfig(r=rank, lora_alpha=2 * rank, target_modules="all-linear"),
            callbacks=[Clock()],
        )
        trainer.train()
    seconds = clock[-1] - clock[WARM - 1]
    peak = torch.cuda.max_memory_allocated() if torch.cuda.is_available() else 0
    return size * (len(clock) - WARM) / seconds, peak


def _tokenizer(config: Any, folder: Path, kind: Any) -> Any:
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel

    words = {f"w{number}": number for number in range(config.vocab_size)}
    Tokenizer(WordLevel(words, unk_token="w0")).save(str(folder / "tokenizer.json"))
    return kind(tokenizer_file=str(folder / "tokenizer.json"), pad_token="w0", eos_token="w1", unk_token="w0")


def grid(arguments: argparse.Namespace) -> None:
    """Forecast and measured peak over length x sequences x vocabulary x method."""
    from xinglin.models.kernels import fusible
    from xinglin.train.memory import Shape, Work, forecast

    print(f"{'tokens':>16}{'vocabulary':>12}{'method':>22}{'forecast':>12}{'measured':>12}{'error':>8}")
    worst = 0.0
    half = torch.cuda.is_available()
    for config, (count, length), method in cells(arguments.smoke):
        work = Work(
            count * length,
            lora_rank=arguments.rank,
            weight_bytes=2 if half else 4,
            activation_bytes=2 if half else 4,
            fused=fusible(),
            **method,
        )
        expected = forecast(Shape.of(config), work).total
        measured = peak(config, count, length, arguments.rank, method)
        error = expected / measured - 1 if measured else 0.0
        worst = max(worst, abs(error))
        words = " ".join(str(value) for value in method.values())
        print(
            f"{count:>8} x {length:<5}{config.vocab_size:>12}{words:>22}{expected / 2**30:>11.1f}G"
            f"{measured / 2**30:>11.1f}G{error:>8.1%}"
        )
    print(f"largest error: {worst:.1%}" if half else "no GPU: nothing was measured")


def cells(smoke: bool) -> Iterator[tuple[Any, tuple[int, int], dict[str, Any]]]:
    from transformers import Qwen3Config

    lengths = [(2, 32), (1, 128)] if smoke else [(4, 512), (4, 2048), (2, 8192)]
    methods = [
        {"tuning": "lora", "checkpointing": False},
        {"tuning": "lora", "checkpointing": True},
        {"tuning": "full", "checkpointing": True},
    ]
    size = (128, 256, 2, 4) if smoke else (2048, 6144, 28, 16)
    for vocabulary, lengths_of, method in itertools.product(
        (512, 2048) if smoke else (32_000, 151_936), lengths, methods
    ):
        hidden, intermediate, layers, heads = size
        yield (
            Qwen3Config(
                vocab_size=vocabulary,
                hidden_size=hidden,
                intermediate_size=intermediate,
                num_hidden_layers=layers,
                num_attention_heads=heads,
                num_key_value_heads=heads // 2,
                head_dim=hidden // heads,
                tie_word_embeddings=False,
            ),
            lengths_of,
            method,
        )


def peak(config: Any, count: int, length: int, rank: int, method: dict[str, Any]) -> int:
    """Allocated bytes at the highest point of two steps."""
    from xinglin.models.attention import packed_attention
    from xinglin.models.packed import PackedModel

    with emptied():
        lora = method["tuning"] == "lora"
        model = lora_model(config, rank) if lora else PackedModel(build(config).float())
        if method["checkpointing"]:
            model.core.train().activation_checkpointing_enable()
        with packed_attention(model.core):
            step = stepper(model, packed(config, count, length), "adamw")
            step()
            step()
        return torch.cuda.max_memory_allocated() if torch.cuda.is_available() else 0


@contextmanager
def emptied() -> Iterator[None]:
    import gc

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    yield


if __name__ == "__main__":
    main()
