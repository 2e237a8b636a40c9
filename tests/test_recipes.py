"""Every recipe that is shipped is right, and the demo's data lead where it says."""

from pathlib import Path

import pytest

from xinglin.config.recipe import load_recipe
from xinglin.errors import RecipeError

ROOT = Path(__file__).parent.parent
RECIPES = sorted((ROOT / "recipes").glob("*.yaml"))


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_it_loads(path, monkeypatch):
    monkeypatch.chdir(ROOT)
    try:
        recipe = load_recipe(path)
    except RecipeError as error:
        missing = [problem for problem in error.problems if "shared/data" in str(problem)]
        assert len(missing) == len(error.problems), error
        pytest.skip("its public data are not on this machine")
    assert recipe.name == path.stem or path.stem == "tiny"
    assert all(stage.config.kind == stage.kind for stage in recipe.stages.values())
