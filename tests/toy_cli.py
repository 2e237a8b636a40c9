"""The command line with the toy stages, for tests that need a process to send signals to."""

import functools

from xinglin import pipeline
from xinglin.cli.main import main
from xinglin.runtime import together

if __name__ == "__main__":
    pipeline.run = functools.partial(pipeline.run, package="toy_stages")
    pipeline.plan = functools.partial(pipeline.plan, package="toy_stages")
    together.GRACE_SECONDS = 1.0
    main(prog_name="xinglin")
