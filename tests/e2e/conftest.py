import pytest
from whole_runs import Command


@pytest.fixture
def command(tmp_path):
    """``xinglin run`` on a small recipe with every stage."""
    return Command(tmp_path)
