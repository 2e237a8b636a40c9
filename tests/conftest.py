"""Toys that every test may use: a tokenizer trained on the spot and random models of real architectures."""

import pytest

TEXTS = [
    "高血压患者应低盐饮食，规律服用氨氯地平，每天测量血压。",
    "孕妇不要使用多西环素，请改用阿莫西林，并咨询产科医生。",
    "Chest pain with sweating needs an ambulance at once.",
    "Drink water, rest, and take paracetamol for the fever.",
    "您好，请问您发热几天了？有没有咳嗽、咳痰？",
]


@pytest.fixture(scope="session")
def tokenizer():
    """Byte-level BPE of 400 tokens with ChatML special tokens."""
    from xinglin.models.tokenizer import train_tokenizer

    return train_tokenizer(TEXTS * 4, vocabulary=400)


@pytest.fixture
def tiny(tokenizer):
    """``tiny("qwen3")`` builds a random model of width 64 with 2 layers."""
    from xinglin.models.tiny import build_tiny

    def build(architecture="qwen3", *, seed=0, shape="64x2"):
        return build_tiny(f"tiny:{architecture}:{shape}", tokenizer, seed=seed)

    return build
