from pathlib import Path

import pytest
from fake_run import RunBuilder


@pytest.fixture
def builder(tmp_path: Path) -> RunBuilder:
    return RunBuilder(tmp_path / "runs" / "demo")


@pytest.fixture
def run_folder(builder: RunBuilder) -> Path:
    return builder.everything()
