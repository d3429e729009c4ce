from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from adacore import __version__
from adacore.cli import COMMANDS, main
from adacore.coreset import Coreset
from adacore.experiments.runs.run_folder import RunFolder

QUICK = ["--epochs=2", "--method=random", "--no-tensorboard"]


def refused(capsys, *words):
    """Run a command that must fail as bad input does, and return its one line."""
    code = main(words)
    lines = capsys.readouterr().err.splitlines()
    assert code == 2
    assert len(lines) == 1, lines
    assert lines[0].startswith("adacore: error: ")
    return lines[0]


@pytest.mark.parametrize(
    ("words", "match"),
    [
        (["trian"], "did you mean 'train'"),
        (["train", "--epoch", "3"], "did you mean --epochs"),
        (["train", "extra"], "unexpected argument 'extra'"),
        (["train", "--epochs"], "expected one argument"),
        (["train", "--epochs", "0"], "below 1"),
        (["train", "--data", "minst"], "did you mean 'mnist'"),
        (["train", "--method", "adacor"], "did you mean 'adacore'"),
        (["train", "--model", "no.such:thing"], "cannot be imported"),
        (["train", "--fraction", "0.1", "--budget", "3"], "two sizes given"),
        (["train", "--fraction", "1.1"], "outside (0, 1]"),
        (["train", "--budget", "100000", "--method", "random"], "outside [1, 1437]"),
        (["train", "--data", "mnist", "--data-root", "/nowhere"], "is not a folder"),
        (["train", "--config", "demoo"], "did you mean 'demo'"),
        (["train", "--resume", "/nowhere"], "holds no run"),
        (["train", "--resume", "x", "--epochs", "3"], "leave out --epochs"),
        (["compare", "--methods", "adacore,rnadom"], "did you mean 'random'"),
        (["select", "/nowhere.npy", "--budget", "3"], "no file"),
        (["select"], "required"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(capsys, tmp_path, monkeypatch, words, match):
    monkeypatch.chdir(tmp_path)
    assert match in refused(capsys, *words)
    assert not list(tmp_path.iterdir())


def test_every_command_has_help(capsys):
    for name in COMMANDS:
        with pytest.raises(SystemExit) as end:
            main([name, "--help"])
        assert end.value.code == 0
        assert "usage: adacore " + name in capsys.readouterr().out


def test_the_version_is_told(capsys):
    with pytest.raises(SystemExit) as end:
        main(["--version"])
    assert end.value.code == 0
    assert capsys.readouterr().out.strip() == f"adacore {__version__}"


def test_the_command_line_wins_over_the_file_and_the_file_over_the_defaults(tmp_path, capsys):
    path = tmp_path / "mine.yaml"
    path.write_text("epochs: 3\nbatch_size: 64\nfraction: 0.2\nmethod: random\ntensorboard: false\n")
    assert main(["train", "--config", str(path), "--epochs", "1", "--budget", "50", "--out", str(tmp_path / "r")]) == 0
    config = RunFolder(tmp_path / "r").config()
    assert (config.epochs, config.batch_size, config.budget, config.fraction) == (1, 64, 50, None)
    assert config.every == 5


def test_a_pipe_gets_one_plain_line_for_each_epoch(tmp_path, capsys):
    assert main(["train", *QUICK, "--out", str(tmp_path / "run")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in lines[1:3]] == ["epoch 1/2", "epoch 2/2"]
    assert "touched" in lines[1]
    assert str(tmp_path / "run") in lines[-1]


def test_resuming_a_finished_run_exits_0(tmp_path, capsys):
    main(["train", *QUICK, "--out", str(tmp_path / "run")])
    assert main(["train", "--resume", str(tmp_path / "run"), "--num-workers", "0"]) == 0


def test_an_out_folder_that_holds_a_run_is_refused(tmp_path, capsys):
    main(["train", *QUICK, "--out", str(tmp_path / "run")])
    capsys.readouterr()
    assert "already holds a run" in refused(capsys, "train", *QUICK, "--out", str(tmp_path / "run"))


def test_a_corrupt_checkpoint_is_refused(tmp_path, capsys):
    main(["train", *QUICK, "--out", str(tmp_path / "run")])
    (tmp_path / "run" / "checkpoint.pt").write_bytes(b"no")
    capsys.readouterr()
    assert "is corrupt" in refused(capsys, "train", "--resume", str(tmp_path / "run"))


def test_methods_with_settings_are_not_split_at_their_commas(tmp_path, capsys):
    methods = "random,adacore(weighting=uniform, average_gradient=false)"
    words = ["compare", "--methods", methods, "--seeds=1", "--epochs=1", "--no-tensorboard", "--out", str(tmp_path)]
    assert main(words) == 0
    assert (tmp_path / "adacore-weighting=uniform-average_gradient=false" / "seed-0").is_dir()
    assert "comparison.json" in capsys.readouterr().out


def blobs(n=60):
    generator = np.random.default_rng(0)
    labels = np.arange(n) % 3
    return (10 * labels[:, None] + generator.normal(size=(n, 4))).astype(np.float32), labels


def test_select_reads_npy_and_writes_a_coreset(tmp_path, capsys):
    x, labels = blobs()
    np.save(tmp_path / "x.npy", x)
    np.save(tmp_path / "y.npy", labels)
    out = tmp_path / "coreset.parquet"
    assert main(["select", str(tmp_path / "x.npy"), "--budget", "3", "--out", str(out)]) == 0
    coreset = Coreset.load(out)
    assert sorted(labels[coreset.indices]) == [0, 1, 2]
    assert coreset.weights.tolist() == [20, 20, 20]
    words = ["select", str(tmp_path / "x.npy"), "--fraction", "0.1", "--labels", str(tmp_path / "y.npy")]
    assert main([*words, "--out", str(tmp_path / "c.npz")]) == 0
    assert np.bincount(labels[Coreset.load(tmp_path / "c.npz").indices]).tolist() == [2, 2, 2]


@pytest.mark.parametrize("end", ["parquet", "svm"])
def test_select_reads_tables_and_libsvm_with_their_labels(tmp_path, capsys, end):
    from sklearn.datasets import dump_svmlight_file

    x, labels = blobs()
    path = tmp_path / f"x.{end}"
    if end == "parquet":
        table = pd.DataFrame({f"x{k}": x[:, k] for k in range(4)})
        table.assign(kind=np.array(["ape", "bee", "cat"])[labels]).to_parquet(path)
    else:
        dump_svmlight_file(x, labels, str(path))
    column = "kind" if end == "parquet" else "target"
    out = tmp_path / "c.npz"
    assert main(["select", str(path), "--budget", "6", "--labels", column, "--out", str(out)]) == 0
    assert np.bincount(labels[Coreset.load(out).indices]).tolist() == [2, 2, 2]


@pytest.mark.parametrize(
    ("make", "words", "match"),
    [
        (lambda path: np.save(path, np.array([[1.0, np.nan]])), ["--budget", "1"], "nan"),
        (lambda path: np.save(path, np.zeros((5, 2))), [], "no size given"),
        (lambda path: np.save(path, np.zeros((5, 2))), ["--budget", "6"], "outside [1, 5]"),
        (lambda path: np.save(path, np.zeros((5, 2))), ["--budget", "1", "--fraction", "0.1"], "two sizes"),
        (lambda path: np.save(path, np.zeros((0, 2))), ["--budget", "1"], "empty"),
        (lambda path: np.save(path, np.zeros(5)), ["--budget", "1"], "shape"),
        (lambda path: np.save(path, np.array(["a", "b"])), ["--budget", "1"], "expected numbers"),
        (lambda path: path.write_bytes(b"\x93NUMPY"), ["--budget", "1"], "truncated or corrupt"),
        (lambda path: np.save(path, np.zeros((5, 2))), ["--budget", "1", "--labels", "kind"], "expected an .npy file"),
        (
            lambda path: np.save(path, np.zeros((5, 2))),
            ["--budget", "1", "--out", "c.txt"],
            "expected .npz or .parquet",
        ),
    ],
)
def test_select_refuses_bad_tables(tmp_path, capsys, make, words, match):
    path = tmp_path / "x.npy"
    make(path)
    assert match in refused(capsys, "select", str(path), *words)


def test_a_warning_is_one_line(tmp_path, capsys, monkeypatch):
    import warnings

    def warn(arguments):
        warnings.warn("it may\nnot pay", UserWarning, stacklevel=1)
        return 0

    monkeypatch.setitem(COMMANDS, "doctor", replace(COMMANDS["doctor"], run=warn))
    assert main(["doctor"]) == 0
    assert capsys.readouterr().err.splitlines() == ["adacore: warning: it may not pay"]
