from pathlib import Path

import pytest

from xinglin.runtime import fingerprint as module
from xinglin.runtime.environment import describe_environment, library_variables
from xinglin.runtime.fingerprint import fingerprint, hash_model


def test_order_of_keys_does_not_count_but_values_do() -> None:
    assert fingerprint({"a": 1, "b": "杏"}) == fingerprint({"b": "杏", "a": 1})
    assert len({fingerprint({"a": value}) for value in (1, 1.5, "1", None, True, [1])}) == 6


def test_models_are_known_by_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert hash_model("tiny:qwen3") == "tiny:qwen3" != hash_model("hub:a/b")
    for limit in (module._WHOLE_BYTES, 1000):
        monkeypatch.setattr(module, "_WHOLE_BYTES", limit)
        monkeypatch.setattr(module, "_EDGE_BYTES", 100)
        seen = set()
        for content in (bytes(2000), b"x" + bytes(1999), bytes(1999) + b"x", bytes(2001)):
            (tmp_path / "model.safetensors").write_bytes(content)
            seen.add(hash_model(str(tmp_path)))
        assert len(seen) == 4
    (tmp_path / "model.safetensors").rename(tmp_path / "other.safetensors")
    assert hash_model(str(tmp_path)) not in seen


def test_libraries_stay_offline_unless_a_hub_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    assert library_variables(offline=True)["HF_HUB_OFFLINE"] == "1"
    online = library_variables(offline=False)
    assert "HF_HUB_OFFLINE" not in online and online["HF_HUB_DISABLE_TELEMETRY"] == "1"


def test_the_environment_names_versions() -> None:
    assert {"xinglin", "python", "torch", "transformers", "devices"} <= describe_environment().keys()
