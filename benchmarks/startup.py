"""How fast the command line answers: median milliseconds of ``--help``, and whether torch was imported for it.

python benchmarks/startup.py
"""

import statistics
import subprocess
import sys
import time

RUN = "import sys; from xinglin.cli.main import main; main(standalone_mode=False); sys.exit('torch' in sys.modules)"


def main() -> None:
    for arguments in (["--help"], ["run", "--help"]):
        command = [sys.executable, "-c", RUN, *arguments]
        spent = []
        for _ in range(15):
            started = time.perf_counter()
            done = subprocess.run(command, capture_output=True)
            spent.append(1000 * (time.perf_counter() - started))
        torch = "torch imported" if done.returncode else "no torch"
        print(f"xinglin {' '.join(arguments):12} {statistics.median(spent):4.0f} ms median of 15, {torch}")


if __name__ == "__main__":
    main()
