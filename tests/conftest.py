import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.browser import CHROMIUM, Browser

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


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """A headless Chromium, where one is installed."""
    if CHROMIUM is None:
        pytest.skip("no chromium on this machine: apt-get install chromium")
    browser = Browser(tmp_path_factory.mktemp("profile"))
    yield browser
    browser.close()
