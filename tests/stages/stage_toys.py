"""Run one stage as the pipeline would, in this process."""

from datetime import UTC, datetime

from xinglin import plugins
from xinglin.runtime.artifact import Artifact
from xinglin.runtime.stage_run import StageRun


class Stages:
    """``stages.run("sft", {...}, name="sft")`` runs a stage into ``folder/name`` and returns its artifact.

    With ``stop_after`` it is interrupted when it asks for the nth time whether to stop.
    """

    def __init__(self, folder, *, base="tiny:qwen3:64x2", seed=3):
        self.folder, self.base, self.seed = folder, base, seed
        self.made = {}

    def run(self, kind, settings, *, name=None, stop_after=None):
        name = name or kind
        asked = iter(range(1, 10**6))
        module = plugins.load("xinglin.stages", kind)
        config = module.Config.model_validate({"kind": kind, **settings})
        out, scratch = self.folder / name, self.folder / f"{name}.scratch"
        for folder in (out, scratch):
            folder.mkdir(parents=True, exist_ok=True)
        run = StageRun(
            name=name,
            seed=self.seed,
            out=out,
            final=out,
            scratch=scratch,
            cache=self.folder / "cache",
            base=self.base,
            stop_requested=lambda: stop_after is not None and next(asked) >= stop_after,
            inputs=self.inputs(),
        )
        outcome = module.run(config, run)
        self.made[name] = Artifact(
            folder=out,
            stage=name,
            kind=outcome.kind,
            stage_kind=kind,
            fingerprint=name,
            config=config.model_dump(mode="json"),
            metrics=outcome.metrics,
            details=outcome.details,
            finished=datetime.now(UTC).isoformat(),
        )
        return self.made[name]

    def inputs(self):
        """What a further stage may start from."""
        return {"base": self.base, **{f"stage:{made}": artifact for made, artifact in self.made.items()}}
