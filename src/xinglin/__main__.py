"""``python -m xinglin``, which ``torchrun -m xinglin`` starts."""

from xinglin.cli.main import main

main(prog_name="xinglin")
