"""What only shows in real processes: interruption, unwritable caches, forks, the first selection."""

import os
import signal
import subprocess
import sys
import textwrap
import time

import numpy as np
import pytest
import torch

from adacore.facility import facility_location
from adacore.facility.workers import Workers


class Selected(torch.utils.data.Dataset):
    """A data set whose workers select as well."""

    def __len__(self):
        return 8

    def __getitem__(self, i):
        x = np.random.default_rng(i).normal(size=(500, 4))
        return int(facility_location(x, budget=5).indices[0])


def test_forked_workers_can_select_after_a_selection():
    x = np.random.default_rng(0).normal(size=(3000, 4))
    facility_location(x, budget=50)
    loader = torch.utils.data.DataLoader(Selected(), num_workers=2, multiprocessing_context="fork")
    values = [int(batch) for batch in loader]
    assert values == [Selected()[i] for i in range(8)]


def start(code, **environment):
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **environment},
    )


@pytest.mark.parametrize("labels", ["None", "np.arange(200_000) % 5"], ids=["one class", "five classes"])
def test_an_interrupt_ends_a_long_selection_cleanly(labels):
    process = start(f"""
        import numpy as np
        from adacore.facility import facility_location, prepare_kernels
        import signal
        signal.signal(signal.SIGINT, signal.default_int_handler)  # background jobs of a shell ignore it
        prepare_kernels()  # numba's compiler hears no signal, and may be a minute at work where nothing is cached
        x = np.random.default_rng(0).normal(size=(200_000, 30))
        print("ready", flush=True)
        facility_location(x, budget=2000, labels={labels})
        """)
    assert process.stdout.readline().strip() == "ready"
    time.sleep(2)
    assert process.poll() is None
    sent = time.monotonic()
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    assert time.monotonic() - sent < 15
    assert errors.strip().endswith("KeyboardInterrupt")
    assert process.returncode in (1, 130, -signal.SIGINT)


def test_an_interrupt_while_a_kernel_is_loaded_is_an_interrupt():
    """numba's loader returns with the interruption pending, which Python turns into a SystemError."""
    with pytest.raises(KeyboardInterrupt), Workers(1):
        raise SystemError("returned a result with an exception set") from KeyboardInterrupt()
    with pytest.raises(SystemError), Workers(1):
        raise SystemError("of another kind")


SMALL = """
    import torch
    import numpy as np, time
    import adacore.facility
    start = time.process_time()  # what other processes do at the same time does not count
    coreset = adacore.facility.facility_location(np.random.default_rng(0).normal(size=(500, 4)), budget=20)
    print(time.process_time() - start, coreset.indices.tolist())
    """


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["read-only", "missing", "file"])
def test_an_unwritable_cache_folder_does_not_matter(kind, tmp_path):
    folder = tmp_path / "cache"
    if kind == "read-only":
        folder.mkdir(mode=0o500)
    elif kind == "file":
        folder.write_text("")
    else:
        folder = folder / "no" / "such" / "folder"
        tmp_path.chmod(0o500)
    process = start(SMALL, NUMBA_CACHE_DIR=str(folder))
    output, errors = process.communicate(timeout=300)
    tmp_path.chmod(0o700)
    assert process.returncode == 0, errors
    expected = facility_location(np.random.default_rng(0).normal(size=(500, 4)), budget=20)
    assert output.split(" ", 1)[1].strip() == str(expected.indices.tolist())


@pytest.mark.slow
def test_the_first_selection_of_a_process_is_quick_once_the_cache_is_warm():
    seconds = []
    for _ in range(4):
        output, errors = start(SMALL).communicate(timeout=300)
        assert output, errors
        seconds.append(float(output.split()[0]))
    assert min(seconds[1:]) < 1.0


def test_importing_does_not_load_the_compiler():
    process = start(
        "import sys, adacore.facility; print([m for m in ('numba', 'scipy', 'sklearn') if m in sys.modules])"
    )
    output, _ = process.communicate(timeout=120)
    assert output.strip() == "[]"


EDIT = """
    import numpy as np
    from engine.caller import doubled
    print(doubled(np.ones(3)))
    """


def test_an_edit_in_another_file_is_compiled_anew(tmp_path):
    """A kernel is compiled together with what it calls, wherever that stands."""
    folder = tmp_path / "engine"
    folder.mkdir()
    (folder / "__init__.py").touch()
    header = "from adacore.facility.compiling import kernel\n"
    (folder / "callee.py").write_text(f"{header}@kernel\ndef twice(x):\n    return 2 * x\n")
    (folder / "caller.py").write_text(
        f"{header}from engine.callee import twice\n@kernel\ndef doubled(x):\n    return twice(x[0])\n"
    )
    paths = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    answers = []
    for factor in (2, 2, 3):
        source = f"{header}@kernel\ndef twice(x):\n    return {factor} * x\n"
        if (folder / "callee.py").read_text() != source:
            (folder / "callee.py").write_text(source)
        output, errors = start(EDIT, PYTHONPATH=paths).communicate(timeout=300)
        assert output, errors
        answers.append(float(output))
        assert list(folder.rglob("caller.doubled*.nbc")), "nothing was cached"
    assert answers == [2.0, 2.0, 3.0]
