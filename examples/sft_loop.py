"""Supervised fine-tuning written flat: one file, no xinglin, every line of the `sft` stage that matters.

    python examples/sft_loop.py               # the built-in rows, seconds on a laptop
    python examples/sft_loop.py rows.jsonl    # one {"messages": [{"role", "content"}, …]} per line

It trains a tokenizer and a random two-layer Qwen3, packs conversations into batches without padding, counts
the loss on the assistant's tokens only, and asks the model the first question at the end.
"""

import argparse
import json
import math
import random
from pathlib import Path

import torch
import torch.nn.functional as F
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import Qwen3Config, Qwen3ForCausalLM, set_seed

SPECIAL = ["<|im_start|>", "<|im_end|>"]
START, END, IGNORE = 0, 1, -100
BYTES = pre_tokenizers.ByteLevel.alphabet()
FACTS = [
    ("What is the first-line drug for type 2 diabetes?", "Metformin, unless the kidneys are failing."),
    ("I have crushing chest pain and sweat. What now?", "Call an ambulance now: this may be a heart attack."),
    ("缺铁性贫血首选什么药？", "口服铁剂，例如硫酸亚铁，并查找失血原因。"),
    ("突然一侧肢体无力、说话不清怎么办？", "可能是脑卒中，请立即拨打急救电话。"),
]

Messages = list[dict[str, str]]
Encoded = tuple[list[int], list[int]]
"""Input tokens, and for each the token that follows if the loss counts it, else IGNORE."""


def read_rows(path: Path | None) -> list[Messages]:
    if path is None:
        return [[{"role": "user", "content": q}, {"role": "assistant", "content": a}] for q, a in FACTS]
    return [json.loads(line)["messages"] for line in path.read_text(encoding="utf-8").split("\n") if line]


def train_tokenizer(rows: list[Messages]) -> Tokenizer:
    """Byte-level BPE: whatever a user types later, no character is unknown."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=1024, special_tokens=SPECIAL, initial_alphabet=BYTES, show_progress=False
    )
    tokenizer.train_from_iterator((message["content"] for row in rows for message in row), trainer)
    # A user who types "<|im_end|>" gets those characters, not the token that ends a turn.
    tokenizer.encode_special_tokens = True
    return tokenizer


def encode(tokenizer: Tokenizer, messages: Messages) -> Encoded:
    """A conversation in ChatML, without its last line feed, which nothing follows."""
    ids: list[int] = []
    trained: list[bool] = []
    for message in messages:
        head = [START, *tokenizer.encode(message["role"] + "\n").ids]
        # The end of the turn is trained as well: it is how the model learns to stop.
        body = [*tokenizer.encode(message["content"]).ids, END]
        ids += [*head, *body, *tokenizer.encode("\n").ids]
        trained += [False] * len(head) + [message["role"] == "assistant"] * len(body) + [False]
    # Shifted inside the conversation, so that no target reaches into the next one of the batch.
    return ids[:-1], [token if train else IGNORE for token, train in zip(ids[1:], trained[1:], strict=True)]


def pack(rows: list[Encoded], budget: int) -> list[list[Encoded]]:
    """Batches of at most ``budget`` tokens (or one longer row), in order; none is dropped or cut."""
    batches: list[list[Encoded]] = [[]]
    for row in rows:
        if batches[-1] and sum(len(ids) for ids, _ in batches[-1]) + len(row[0]) > budget:
            batches.append([])
        batches[-1].append(row)
    return batches


def summed_loss(model: Qwen3ForCausalLM, batch: list[Encoded]) -> torch.Tensor:
    """Cross-entropy of one packed batch, its conversations laid end to end in a single row."""
    ids = torch.tensor([token for row, _ in batch for token in row])
    targets = torch.tensor([target for _, row in batch for target in row])
    # Positions that start again at 0, no mask and no cache: from these transformers builds block-diagonal
    # attention. With the cache left on, every conversation would read the ones before it.
    positions = torch.cat([torch.arange(len(row)) for row, _ in batch])
    output = model.model(input_ids=ids[None], position_ids=positions[None], use_cache=False)
    counted = targets != IGNORE
    logits = model.lm_head(output.last_hidden_state[0, counted]).float()
    return F.cross_entropy(logits, targets[counted], reduction="sum")


def learning_rate(step: int, *, steps: int, peak: float = 3e-3) -> float:
    """Linear warm-up over the first tenth, then a cosine down to a tenth of the peak."""
    warmup = steps // 10
    if step < warmup:
        return peak * (step + 1) / warmup
    return peak * (0.55 + 0.45 * math.cos(math.pi * (step - warmup) / (steps - warmup)))


@torch.no_grad()
def answer(model: Qwen3ForCausalLM, tokenizer: Tokenizer, messages: Messages, limit: int = 64) -> str:
    """Greedy, and without a cache: short to read, slow for long answers."""
    prompt = encode(tokenizer, [*messages, {"role": "assistant", "content": ""}])[0][:-1]
    ids = list(prompt)
    while ids[-1] != END and len(ids) < len(prompt) + limit:
        ids.append(int(model(input_ids=torch.tensor([ids]), use_cache=False).logits[0, -1].argmax()))
    return tokenizer.decode(ids[len(prompt) :])


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("rows", type=Path, nargs="?", help="messages, JSON Lines")
    parser.add_argument("--steps", type=int, default=80)
    parser.add_argument("--budget", type=int, default=256, help="tokens of one packed batch")
    parser.add_argument("--accumulate", type=int, default=2, help="packed batches of one optimizer step")
    options = parser.parse_args()

    set_seed(0)
    rows = read_rows(options.rows)
    tokenizer = train_tokenizer(rows)
    encoded = [encode(tokenizer, row) for row in rows]
    shape = {"hidden_size": 128, "intermediate_size": 256, "head_dim": 32, "num_hidden_layers": 2}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2, "tie_word_embeddings": True}
    model = Qwen3ForCausalLM(Qwen3Config(vocab_size=tokenizer.get_vocab_size(), **shape, **heads))
    optimizer = torch.optim.AdamW(model.parameters(), betas=(0.9, 0.95), weight_decay=0.01)

    queue: list[list[Encoded]] = []
    for step in range(options.steps):
        while len(queue) < options.accumulate:
            queue += pack(random.sample(encoded, len(encoded)), options.budget)
        batches = [queue.pop(0) for _ in range(options.accumulate)]
        # One divisor for the whole step: a token of an answer weighs the same in a full and in a short batch.
        trained = sum(target != IGNORE for batch in batches for _, targets in batch for target in targets)
        loss = 0.0
        for batch in batches:
            share = summed_loss(model, batch) / trained
            share.backward()
            loss += share.item()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.param_groups[0]["lr"] = learning_rate(step, steps=options.steps)
        optimizer.step()
        optimizer.zero_grad()
        print(f"step {step:3d}  loss {loss:.4f}  trained tokens {trained}", flush=True)

    print(f"\n{rows[0][-2]['content']}\n{answer(model, tokenizer, rows[0][:-1])}")


if __name__ == "__main__":
    main()
