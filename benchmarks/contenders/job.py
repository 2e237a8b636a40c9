"""What every contender does alike: read the job, watch the clock, report.

Importing it takes the standard library only: it runs in the peers' environments too.
"""

import json
import sys
import time
from pathlib import Path
from typing import Any


class Job:
    """A prepared folder (``prepared.py`` says what is in it) and the CPU-seconds that were spent on its task."""

    def __init__(self) -> None:
        self.folder = Path(sys.argv[1])
        self.setting = sys.argv[2]
        self.facts = facts = json.loads((self.folder / "job.json").read_text(encoding="utf-8"))
        self.task: str = facts["task"]
        self.rows_per_step: int = facts["rows_per_step"]
        self.rl: dict[str, int] = facts["rl"]
        self.model = str(self.folder / "model")
        self._spent = 0.0
        self._began: float | None = None
        self._ended = 0.0

    def rows(self, name: str = "rows") -> list[dict[str, Any]]:
        """``rows``: as text; ``tokens``: the same ones tokenised."""
        lines = (self.folder / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()
        return [json.loads(line) for line in lines]

    def begin(self) -> None:
        """The first optimizer step begins; later calls change nothing."""
        self._began = self._began or time.process_time()

    def end(self) -> None:
        """A step has ended; the last call counts."""
        self._ended = time.process_time()

    def callback(self) -> Any:
        """For trainers of transformers: the clock runs from the beginning of the first step to the end of the last."""
        from transformers import TrainerCallback

        job = self

        class Clock(TrainerCallback):
            def on_step_begin(self, *arguments: object, **named: object) -> None:
                job.begin()

            def on_step_end(self, *arguments: object, **named: object) -> None:
                job.end()

        return Clock()

    def spent(self, function: Any) -> Any:
        """``function``, whose time counts although it is called before the first step."""

        def timed(*arguments: Any, **named: Any) -> Any:
            before = time.process_time()
            result = function(*arguments, **named)
            self._spent += time.process_time() - before
            return result

        return timed

    def report(self) -> None:
        """Print the result as the last line, for the parent."""
        seconds = self._spent + (self._ended - self._began if self._began else 0.0)
        # Not ``ru_maxrss``, which begins with the size of the process that started this one.
        status = Path("/proc/self/status").read_text()
        peak = int(status.split("VmHWM:")[1].split()[0])
        print(json.dumps({"cpu_seconds": seconds, "peak_mib": peak / 1024}))
