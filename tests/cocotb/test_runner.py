"""The builds of a shelf do not pile up."""

import os
from pathlib import Path

import pytest

import runner


def test_builds_used_last_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "BUILD_ROOT", tmp_path)
    for age, name in enumerate(["core", "core", "core-x", "core", "core", "core"]):
        folder = tmp_path / f"{name}-{age:016x}"
        folder.mkdir()
        if age != 4:  # somebody is building it
            (folder / runner.BUILT).touch()
            os.utime(folder / runner.BUILT, (age, age if age else 100))
    runner.prune("core")
    left = {path.name.removesuffix(path.name[-16:]) + path.name[-1] for path in tmp_path.iterdir()}
    assert left == {"core-0", "core-3", "core-4", "core-5", "core-x-2"}
