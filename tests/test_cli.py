import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from adacore import __version__
from adacore.cli import COMMANDS, main
from adacore.coreset import Coreset
from adacore.experiments.runs.run_folder import RunFolder
from adacore.experiments.runs.settings import TrainConfig, from_mapping

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
        (["--foo", "train"], "unknown flag --foo"),
        (["train", "--foo"], "unknown flag --foo"),
        (["train", "--batch-size", "ten"], "batch_size='ten' is not a whole number"),
        (["train", "--epochs", "2.5"], "epochs='2.5' is not a whole number"),
        (["train", "--seed", "1.5"], "seed='1.5' is not a whole number"),
        (["train", "--fraction", "much"], "fraction='much' is not a number"),
        (["train", "--every", "never"], "auto"),
        (["train", "--device", "gpu"], "cpu"),
        (["train", "--optimizer", "sdg"], "did you mean 'sgd'"),
        (["train", "--config", "demo"], "does not exist"),
        (["train", "--config", "."], "is a folder"),
        (["compare", "--config", "demoo"], "did you mean 'demo'"),
        (["compare", "--config", "nowhere/demo.yaml"], "does not exist"),
        (["reproduce"], "name is required"),
        (["reproduce", "tabel2"], "did you mean 'table2'"),
        (["reproduce", "table2", "--scale", "smal"], "did you mean 'small'"),
        (["report"], "folder is required"),
        (["doctor", "--fast"], "unknown flag --fast"),
        (["train", "--resume", "/nowhere"], "holds no run"),
        (["train", "--resume", "x", "--epochs", "3"], "leave out --epochs"),
        (["compare", "--methods", "adacore,rnadom"], "did you mean 'random'"),
        (["select", "/nowhere.npy", "--budget", "3"], "no file"),
        (["select"], "required"),
        (["label", "digits", "--labels", "target"], "leave it out"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(capsys, tmp_path, monkeypatch, words, match):
    monkeypatch.chdir(tmp_path)
    assert match in refused(capsys, *words)
    assert not list(tmp_path.iterdir())


def test_label_refuses_images_that_lie_in_files(capsys, tmp_path, monkeypatch):
    import torch

    from adacore.experiments import data
    from adacore.experiments.data.bdd100k import ImageFiles

    images = ImageFiles([tmp_path / "1.jpg"], torch.tensor([0]))
    monkeypatch.setattr(data, "load", lambda name: data.Splits(name, images, images, (3, 8, 8), 1, ("clear",)))
    assert "bdd100k is not held in memory" in refused(capsys, "label", "bdd100k", f"--out={tmp_path / 'out'}")


def test_every_command_has_help(capsys):
    for name in COMMANDS:
        with pytest.raises(SystemExit) as end:
            main([name, "--help"])
        assert end.value.code == 0
        assert "usage: adacore " + name in capsys.readouterr().out


def test_the_command_line_starts_without_numpy_or_torch():
    code = "import sys, adacore.cli; print([name for name in ('numpy', 'torch') if name in sys.modules])"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert ended.stdout == "[]\n", ended.stderr


def test_the_version_is_told(capsys):
    with pytest.raises(SystemExit) as end:
        main(["--version"])
    assert end.value.code == 0
    assert capsys.readouterr().out.strip() == f"adacore {__version__}"


def test_the_command_line_wins_over_the_file_and_the_file_over_the_defaults(tmp_path, capsys):
    path = tmp_path / "mine.yaml"
    path.write_text("epochs: 3\nbatch_size: 64\nfraction: 0.2\nmethod: random\ntensorboard: false\n")
    assert main(["train", "--config", str(path), "--epochs", "1", "--budget", "50", "--out", str(tmp_path / "r")]) == 0
    config = from_mapping(TrainConfig, RunFolder(tmp_path / "r").settings())
    assert (config.epochs, config.batch_size, config.budget, config.fraction) == (1, 64, 50, None)
    assert config.every == 5


def written(tmp_path, text):
    path = tmp_path / "mine.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


@pytest.mark.parametrize("first", [True, False])
def test_the_command_line_wins_wherever_the_file_stands(tmp_path, capsys, first):
    config = ["--config", str(written(tmp_path, "epochs: 30\nbatch-size: 64\nweight_decay: 1e-3\n"))]
    words = [*QUICK, "--out", str(tmp_path / "r")]
    assert main(["train", *(config + words if first else words + config)]) == 0
    saved = from_mapping(TrainConfig, RunFolder(tmp_path / "r").settings())
    assert (saved.epochs, saved.batch_size, saved.weight_decay) == (2, 64, 1e-3)


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("epochs: 3\nseed: 1\nepochs: 4\n", "gives epochs twice, in lines 1 and 3"),
        ("batch-size: 3\nbatch_size: 4\n", "gives batch_size twice"),
        ("method: {name: craig, proxy: logits, proxy: penultimate}\n", "gives proxy twice"),
        ("epoch: 3\n", "did you mean 'epochs'"),
        ("epochs: ten\n", "epochs='ten' is not a whole number"),
        ("epochs: 2.5\n", "epochs='2.5' is not a whole number"),
        ("tensorboard: maybe\n", "tensorboard='maybe' is not true or false"),
        ("tensorboard: 0\n", "tensorboard=0 is not true or false"),
        ("device: [cpu]\n", "cpu"),
        ("method: {weighting: uniform}\n", "has no name"),
        ("- a\n- b\n", "holds no settings"),
        ("", "holds no settings"),
        ("3: 4\n", "holds no settings"),
        ("epochs: [1\n", "not valid YAML"),
        (b"epochs: \xff\n", "not valid YAML"),
        ("a: !!python/object/apply:os.getcwd []\n", "not valid YAML"),
    ],
)
def test_a_bad_file_of_settings_is_one_line(tmp_path, capsys, text, match):
    line = refused(capsys, "train", "--config", str(written(tmp_path, text)))
    assert match in line
    assert "mine.yaml" in line or "has no name" in line


def test_settings_of_a_method_may_be_nested_in_the_file(tmp_path, capsys):
    path = written(tmp_path, "methods: [random, {name: craig, weighting: sqrt}]\nseeds: 1\nepochs: 1\n")
    assert main(["compare", "--config", str(path), "--no-tensorboard", "--out", str(tmp_path / "c")]) == 0
    assert (tmp_path / "c" / "craig-weighting=sqrt" / "seed-0").is_dir()


def test_help_shows_the_configurations_that_fit_the_command(capsys):
    shown = {}
    for command in ("train", "compare", "reproduce"):
        with pytest.raises(SystemExit):
            main([command, "--help"])
        shown[command] = capsys.readouterr().out
    assert "table2-r20" in shown["compare"].replace("\n", "")
    assert "demo" in shown["compare"]
    assert "figure1" not in shown["compare"]  # a convex figure: no comparison
    assert "table2-r20" not in shown["train"]
    assert "sum of all rows" in " ".join(help_of("select", capsys).split())


def help_of(command, capsys):
    with pytest.raises(SystemExit):
        main([command, "--help"])
    return capsys.readouterr().out


@pytest.mark.parametrize("words", [["--help"], ["train", "--help"], ["select", "--help"]], ids=" ".join)
def test_help_does_not_wait_for_torch(words):
    code = (
        "import sys; from adacore.cli import main\n"
        "try: main(sys.argv[1:])\n"
        "except SystemExit: print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "False"


@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_a_shell_can_complete_commands_flags_and_their_values(capsys, shell):
    pytest.importorskip("shtab")
    with pytest.raises(SystemExit):
        main(["--print_completion", f"shtab-{shell}"])
    script = capsys.readouterr().out
    for word in ("compare", "--batch-size", "--no-tensorboard", "adahessian"):
        assert word in script


MODULES = {
    "not_python": "def load(:\n",
    "raises": "raise RuntimeError('no disk')\n",
    "missing": "import no_such_package\n",
    "fails": "def load():\n    return {}['train']\n",
    "reads": """
import torch
class Broken(torch.utils.data.Dataset):
    def __len__(self):
        return 20
    def __getitem__(self, row):
        if torch.utils.data.get_worker_info() or row == 17:
            raise RuntimeError('row 17 is\\nbroken')
        return torch.ones(3), row % 2
def load():
    return Broken(), Broken()
""",
}


@pytest.mark.parametrize(
    ("module", "match"),
    [
        ("not_python", "not_python.py"),
        ("raises", "no disk"),
        ("missing", "no_such_package"),
        ("fails", "KeyError: 'train'"),
        ("reads", "row 17 is broken"),
    ],
)
def test_a_fault_in_a_users_module_is_one_line_that_says_where(tmp_path, capsys, monkeypatch, module, match):
    name = f"{module}_of_a_user"
    (tmp_path / f"{name}.py").write_text(MODULES[module])
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    line = refused(capsys, "train", "--data", f"{name}:load", "--model", "logistic", *QUICK)
    assert match.replace("not_python", name) in line
    assert f"{name}.py, line" in line


def test_a_fault_in_a_worker_is_one_line_too(tmp_path, capsys, monkeypatch):
    (tmp_path / "worker_of_a_user.py").write_text(MODULES["reads"].replace("row == 17", "False"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    words = ["--data", "worker_of_a_user:load", "--model", "logistic", "--num-workers", "1", *QUICK]
    line = refused(capsys, "train", *words)
    assert "row 17 is broken" in line or "RuntimeError" in line
    assert "worker_of_a_user.py, line" in line


def test_a_fault_of_the_library_shows_its_trace(monkeypatch):
    def fail(given):
        raise KeyError("batch")

    monkeypatch.setitem(COMMANDS, "doctor", replace(COMMANDS["doctor"], run=fail))
    monkeypatch.setattr("adacore.errors._place_of", lambda error: None)  # this file is a user's, to the library
    with pytest.raises(KeyError):
        main(["doctor"])


def test_ctrl_c_advises_what_fits_the_command(tmp_path, capsys, monkeypatch):
    def interrupt(given):
        raise KeyboardInterrupt

    for name in COMMANDS:
        monkeypatch.setitem(COMMANDS, name, replace(COMMANDS[name], run=interrupt))
    run = tmp_path / "run"

    def said(*words):
        assert main(words) == 130
        (line,) = capsys.readouterr().err.splitlines()
        return line

    assert "nothing is kept" in said("train", "--out", str(run))
    run.mkdir()
    (run / "checkpoint.pt").touch()
    assert f"adacore train --resume {run}" in said("train", "--out", str(run))
    assert f"adacore train --resume {run}" in said("train", "--resume", str(run))
    assert "same command again" in said("compare")
    assert "same command again" in said("reproduce", "table2")
    for words in (["select", "x.npy"], ["report", "runs/a"], ["doctor"]):
        assert "resume" not in (line := said(*words))
        assert "again" not in line


def test_a_terminal_of_ascii_is_enough(tmp_path):
    words = ["compare", *QUICK[:1], "--methods=random", "--seeds=2", "--no-tensorboard", "--out", str(tmp_path / "c")]
    environment = {**os.environ, "PYTHONIOENCODING": "ascii", "LC_ALL": "C"}
    done = subprocess.run([sys.executable, "-m", "adacore", *words], capture_output=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    assert b"+-" in done.stdout
    assert (tmp_path / "c" / "report.html").is_file()


def test_a_long_wait_is_announced_with_what_takes_less(tmp_path, recwarn):
    from adacore.labelling.choosing import SelectSettings, _warn_of_a_long_wait

    _warn_of_a_long_wait(10_000_000, 2, settings=SelectSettings(fraction=0.01))
    _warn_of_a_long_wait(10_000_000, 2, settings=SelectSettings(tolerance=5.0))
    first, second = (str(warning.message) for warning in recwarn)
    assert " h)" in first
    assert "--method sampled" in first
    assert "--budget and --method sampled" in second
    _warn_of_a_long_wait(5_000, 10, settings=SelectSettings(budget=50))
    assert len(recwarn) == 2


def test_select_on_a_sample_is_offered_on_the_command_line(tmp_path, capsys):
    np.save(tmp_path / "x.npy", blobs()[0])
    out = tmp_path / "c.npz"
    words = ["select", str(tmp_path / "x.npy"), "--budget", "3", "--method", "sampled", "--seed", "0"]
    assert main([*words, "--out", str(out)]) == 0
    assert len(Coreset.load(out)) == 3


def test_select_takes_its_settings_from_a_file_too(tmp_path, capsys):
    np.save(tmp_path / "x.npy", blobs()[0])
    config = written(tmp_path, f"features: {tmp_path / 'x.npy'}\nfraction: 0.5\nout: {tmp_path / 'c.npz'}\n")
    assert main(["select", "--config", str(config), "--budget", "4"]) == 0
    assert len(Coreset.load(tmp_path / "c.npz")) == 4


def test_a_pipe_gets_one_plain_line_for_each_epoch(tmp_path, capsys):
    assert main(["train", *QUICK, "--out", str(tmp_path / "run")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in lines[1:3]] == ["epoch 1/2", "epoch 2/2"]
    assert "seen" in lines[1]
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


@pytest.mark.filterwarnings("default")
def test_select_says_why_there_are_fewer_rows_than_were_asked_for(tmp_path, capsys):
    np.save(tmp_path / "x.npy", np.repeat([[1.0, 2.0], [3.0, 4.0]], 10, axis=0))
    assert main(["select", str(tmp_path / "x.npy"), "--budget", "5", "--out", str(tmp_path / "c.npz")]) == 0
    said, warned = capsys.readouterr()
    assert "2 of 20 examples, L = 0; 5 were asked for, but no further row would lower L" in " ".join(said.split())
    assert warned.count("were asked for") == warned.count("adacore: warning:") == 1


def test_an_error_names_no_line_of_a_compiled_package(tmp_path, capsys):
    (tmp_path / "x.svm").write_text("1 3:1 2:1\n")
    line = refused(capsys, "select", str(tmp_path / "x.svm"), "--budget", "1")
    assert "must ascend" in line
    assert ".pyx" not in line


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
        (
            lambda path: np.save(path, np.zeros((5, 2))),
            ["--budget", "1", "--labels", "kind"],
            "label a line, an .npy file",
        ),
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
