"""``xinglin doctor``: is this installation complete, and what can this machine do?"""

import json
import platform
import shutil
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib import import_module, metadata
from pathlib import Path

import click

_LITTLE_DISK = 5 << 30


@dataclass(frozen=True)
class Check:
    name: str
    found: str
    ok: bool = True
    cure: str = ""


@click.command("doctor")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def command(as_json: bool) -> None:
    """Check Python, packages, devices, memory and disk. Exit code 1 if something that xinglin needs is wrong."""
    checks = [*_versions(), *_devices(), *_room()]
    if as_json:
        click.echo(json.dumps([asdict(check) for check in checks], ensure_ascii=False, indent=2))
    else:
        for check in checks:
            mark = click.style("ok ", fg="green") if check.ok else click.style("BAD", fg="red")
            click.echo(
                f"{mark} {check.name:<22} {check.found}" + (f"   -> {check.cure}" if check.cure else "")
            )
    raise click.exceptions.Exit(0 if all(check.ok for check in checks) else 1)


def _versions() -> Iterator[Check]:
    """Every package that xinglin requires, and the extras that are there."""
    from packaging.requirements import Requirement
    from packaging.specifiers import SpecifierSet

    python, wanted = platform.python_version(), metadata.metadata("xinglin")["Requires-Python"]
    fits = SpecifierSet(wanted).contains(python)
    yield Check("python", f"{python} (needs {wanted})", fits, "" if fits else "install a newer Python")
    extras: dict[str, list[str]] = {
        name: [] for name in metadata.metadata("xinglin").get_all("Provides-Extra") or []
    }
    for requirement in map(Requirement, metadata.requires("xinglin") or []):
        found = _installed(requirement.name)
        fits = found is not None and requirement.specifier.contains(found, prereleases=True)
        if requirement.marker is None:
            cure = "" if fits else f"pip install '{requirement}'"
            yield Check(requirement.name, f"{found or 'missing'} (needs {requirement.specifier})", fits, cure)
        elif not fits:
            for extra in extras:
                if requirement.marker.evaluate({"extra": extra}):
                    extras[extra].append(requirement.name)
    for extra, missing in extras.items():
        cure = f"if wanted: pip install 'xinglin[{extra}]'" if missing else ""
        yield Check(f"extra {extra}", f"without {', '.join(missing)}" if missing else "complete", cure=cure)


def _installed(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _devices() -> Iterator[Check]:
    import psutil

    from xinglin.runtime.units import bytes_text

    memory = psutil.virtual_memory()
    cores = f"{psutil.cpu_count()} threads, {psutil.cpu_count(logical=False) or '?'} cores"
    yield Check("cpu", f"{platform.machine()}, {cores}")
    yield Check("memory", f"{bytes_text(memory.available)} free of {bytes_text(memory.total)}")
    try:
        torch = import_module("torch")
    except ImportError as error:
        yield Check("devices", f"torch does not load: {error}", False, "reinstall torch")
        return
    if not torch.cuda.is_available():
        yield Check("devices", "no CUDA device: the CPU is used")
    for index in range(torch.cuda.device_count()):
        properties = torch.cuda.get_device_properties(index)
        bf16 = "bf16" if properties.major >= 8 else "no bf16"
        yield Check(f"cuda:{index}", f"{properties.name}, {bytes_text(properties.total_memory)}, {bf16}")
    if torch.cuda.device_count() > 1:
        yield Check("all GPUs at once", "torchrun --nproc-per-node gpu -m xinglin run …")


def _room() -> Iterator[Check]:
    from xinglin.runtime.units import bytes_text

    free = shutil.disk_usage(Path.cwd()).free
    cure = "" if free > _LITTLE_DISK else "checkpoints of real models need more; use --out on another disk"
    yield Check("disk here", f"{bytes_text(free)} free", cure=cure)
    yield Check("installed in", sys.prefix)
