"""Progress goes to stderr: a bar on a terminal, a line now and then elsewhere, nothing where little is to be done."""

import numpy as np
import pytest
import scipy.sparse

from adacore.facility import assign, facility_location, k_center, progress

X = np.random.default_rng(0).normal(size=(300, 3))
WIDE = scipy.sparse.random(300, 500, density=0.01, format="csr", random_state=0)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda **o: facility_location(X, budget=20, **o), "adacore: selecting, 20 of 20 after 0 s"),
        (lambda **o: facility_location(X, budget=5, refine=True, **o), "adacore: refining, 64 of 300 after 0 s"),
        (lambda **o: facility_location(WIDE, budget=5, refine=True, **o), "adacore: refining, 64 of 300 after 0 s"),
        (lambda **o: facility_location(X, tolerance=50.0, **o), "adacore: selecting"),
        (lambda **o: facility_location(X, budget=6, labels=np.arange(300) % 3, **o), "adacore: selecting, 6 of 6"),
        (lambda **o: k_center(X, budget=20, **o), "adacore: selecting, 20 of 20"),
        (lambda **o: assign(X, [1, 2], **o), "adacore: assigning, 0 of 300"),
    ],
)
def test_without_a_terminal_a_line_is_written_now_and_then(call, words, capsys, monkeypatch):
    monkeypatch.setattr("adacore.facility.engines.MOST_PAIRS", 0)
    call()
    assert capsys.readouterr() == ("", ""), "what takes no time says nothing"
    monkeypatch.setattr(progress, "EVERY", 0.0)
    call(progress=True)
    written = capsys.readouterr()
    assert written.out == ""
    assert words in written.err


def test_lines_are_apart_and_long_computations_have_some(capsys, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    with progress.show_progress("selecting", 4000, seconds=100.0, wanted=None) as report:
        for done in range(0, 4000, 1000):
            now[0] += 20.0
            report(done)
    assert capsys.readouterr().err.splitlines() == [
        "adacore: selecting, 1,000 of 4,000 after 40 s",
        "adacore: selecting, 3,000 of 4,000 after 80 s",
    ]


def test_a_terminal_has_a_bar_that_vanishes(monkeypatch, capsys):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    with progress.show_progress("selecting", 10, seconds=6.0, wanted=None) as report:
        report(5)
    assert "adacore:" not in capsys.readouterr().err
