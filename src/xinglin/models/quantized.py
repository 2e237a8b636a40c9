"""What bitsandbytes does: frozen bases in 4 or 8 bits (QLoRA, arXiv 2305.14314)."""

from importlib.util import find_spec

import torch
from transformers import BitsAndBytesConfig

from xinglin.errors import ModelError


def require_bitsandbytes(wanted_by: str) -> None:
    """Refuse ``wanted_by``, a setting, where bitsandbytes cannot work.

    Raises:
        ModelError: no CUDA GPU, or the package is not installed.
    """
    if not torch.cuda.is_available():
        raise ModelError(f"{wanted_by} needs a CUDA GPU, and there is none; leave it out on this machine")
    if find_spec("bitsandbytes") is None:
        raise ModelError(f"{wanted_by} needs bitsandbytes; install it with: pip install 'xinglin[gpu]'")


def quantization_config(bits: str) -> BitsAndBytesConfig:
    """How ``4bit`` (NF4, its constants quantised again) or ``8bit`` weights are made while they are loaded."""
    if bits == "8bit":
        return BitsAndBytesConfig(load_in_8bit=True)
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16,
    )
