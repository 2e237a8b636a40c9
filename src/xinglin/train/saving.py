"""Leave a trained model behind in the form that every tool loads."""

from pathlib import Path
from typing import Any

from xinglin.models.adapter import stack, write_base
from xinglin.models.embeddings import read_extension
from xinglin.models.lora import save_lora
from xinglin.train.session import Session


def save_model(session: Session) -> None:
    """The weights in Hugging Face form: an adapter that names its base, or a full model in its own precision."""
    session.core.config.use_cache = True
    out: Path = session.run.out
    session.renderer.imprint()
    session.tokenizer.save_pretrained(out)
    adapted: Any = session.adapted
    if session.config.tuning == "lora":
        save_lora(adapted, out, base=session.base.removeprefix("hub:"))
        write_base(out, session.base, seed=session.base_seed, final_folder=session.run.final)
    else:
        session.core.to(session.base_dtype).save_pretrained(out)  # type: ignore[arg-type]
        if extension := read_extension(Path(stack(session.base)[0])):
            extension.save(out)
