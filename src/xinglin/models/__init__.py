"""Models: loading, tokenizers, adapters, packed attention."""

import warnings

from transformers.utils import logging

logging.disable_progress_bar()

# PEFT 0.21 asks for names that transformers 5.23 has renamed; a user can do nothing about it.
warnings.filterwarnings(
    "ignore", message=r"`\w*gradient_checkpointing\w*` is deprecated", category=FutureWarning
)
