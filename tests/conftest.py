import os
from pathlib import Path

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(scope="session")
def data_root() -> Path:
    """The folder with real data sets, where there is one."""
    beside = Path(__file__).resolve().parents[2] / "shared" / "data"
    root = Path(os.environ.get("ADACORE_DATA", beside))
    if not root.is_dir():
        pytest.skip(f"no real data sets: neither ADACORE_DATA nor {beside} is a folder")
    return root


@pytest.fixture
def private_cache(tmp_path, monkeypatch) -> Path:
    """A cache folder for decoded data that no other test sees."""
    monkeypatch.setenv("ADACORE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"
