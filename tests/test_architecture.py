"""Rules of ARCHITECTURE.md that import-linter and ruff do not check."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from xinglin import plugins
from xinglin.config.parts import TrainingConfig

ROOT = Path(__file__).parent.parent
SOURCE = ROOT / "src" / "xinglin"
FILES = sorted(SOURCE.rglob("*.py"))
EVERY_FILE = sorted([*FILES, *(ROOT / "tests").rglob("*.py"), *(ROOT / "benchmarks").rglob("*.py")])
PLUGINS = (
    "xinglin.stages",
    "xinglin.data.containers",
    "xinglin.data.deidentify.detectors",
    "xinglin.data.formats",
    "xinglin.data.filters",
    "xinglin.evaluate.benchmarks",
    "xinglin.rewards",
    "xinglin.synthesis.tasks",
    "xinglin.selection.embeddings",
    "xinglin.selection.scores",
    "xinglin.selection.steps",
    "xinglin.train.objectives",
    "xinglin.engines",
)
MAX_LINES = 400
VAGUE = {"utils", "util", "helpers", "helper", "common", "misc", "manager", "factory"}


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def modules_imported(path: Path) -> set[str]:
    """Every module that a file imports, at its top or inside functions."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


@pytest.mark.parametrize("path", EVERY_FILE, ids=name)
def test_no_file_is_long_or_vague(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= MAX_LINES
    assert not set(path.stem.split("_")) & VAGUE


@pytest.mark.parametrize("path", [path for path in FILES if path.name != "__init__.py"], ids=name)
def test_every_module_says_what_it_is(path: Path) -> None:
    assert ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))


@pytest.mark.parametrize("package", PLUGINS)
def test_plugins_do_not_know_each_other(package: str) -> None:
    for plugin in plugins.names(package):
        path = ROOT / "src" / Path(*package.split(".")) / f"{plugin}.py"
        others = {f"{package}.{other}" for other in plugins.names(package) if other != plugin}
        assert not modules_imported(path) & others, f"{plugin} imports another {package}"


@pytest.mark.parametrize("package", PLUGINS)
def test_the_contract_of_every_plugin_kind_is_written_down(package: str) -> None:
    module = __import__(package, fromlist=["_"])
    assert module.__doc__ and len(module.__doc__.split("\n")) > 3


@pytest.mark.parametrize("path", [path for path in FILES if "runtime" not in path.parts], ids=name)
def test_only_the_runtime_reads_environment_variables(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "os":
            assert node.attr not in ("environ", "getenv", "putenv"), f"line {node.lineno}"


def test_checking_a_recipe_loads_no_heavy_library() -> None:
    """All modules that the pipeline's process imports: commands, configs, stages, runtime and report."""
    light = [
        ".".join(path.relative_to(SOURCE.parent).with_suffix("").parts)
        for folder in ("cli", "config", "runtime", "stages", "report")
        for path in sorted((SOURCE / folder).rglob("*.py"))
        if path.name != "__init__.py"
    ]
    code = (
        "import sys, importlib\n"
        f"for module in {[*light, 'xinglin.pipeline', 'xinglin.api']}:\n"
        "    importlib.import_module(module)\n"
        "    for heavy in ('torch', 'transformers', 'peft', 'accelerate', 'datasets', 'matplotlib', 'jieba'):\n"
        "        assert heavy not in sys.modules, f'{module} imports {heavy}'\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_stages_fit_their_contract() -> None:
    for kind in plugins.names("xinglin.stages"):
        stage = plugins.load("xinglin.stages", kind)
        made = (stage.PRODUCES,) if isinstance(stage.PRODUCES, str) else stage.PRODUCES
        assert set(made) <= {"dataset", "model", "adapter", "reward_model", "evaluation"}
        assert len(made) == 1 or callable(stage.produces), f"{kind} must say which artifact it makes"
        assert callable(stage.run)
        shared = getattr(stage, "DISTRIBUTED", False)
        assert shared == issubclass(stage.Config, TrainingConfig), (
            f"{kind}: what trains, several processes share"
        )
        undocumented = [key for key, field in stage.Config.model_fields.items() if not field.description]
        assert not undocumented, f"{kind}: document {undocumented}"


def test_what_the_forkserver_imports_leaves_cuda_and_threads_alone() -> None:
    """A process that has asked for CUDA, or that runs threads, cannot be forked safely."""
    code = (
        "import importlib, threading, torch\n"
        "from xinglin.stages import PRELOAD\n"
        "def asked(*_): raise AssertionError('CUDA was asked for')\n"
        "for name in ('is_available', 'device_count', 'current_device', '_lazy_init'):\n"
        "    setattr(torch.cuda, name, asked)\n"
        "for module in PRELOAD:\n"
        "    importlib.import_module(module)\n"
        "assert threading.active_count() == 1\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
