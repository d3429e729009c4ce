import bz2
import gzip
import io
import json
import pickle
import struct

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from torch.utils.data import default_collate

from adacore.experiments import data
from adacore.experiments.data import ArrayDataset
from adacore.experiments.data.bdd100k import WEATHER
from adacore.experiments.data.cifar import read_pickle
from adacore.experiments.data.libsvm import read_libsvm
from adacore.experiments.data.split import imbalanced
from adacore.probing.labels import labels_of

RNG = np.random.default_rng(0)


def idx(array):
    return bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


def write_mnist(root, *, zipped, n=12):
    folder = root / "mnist"
    folder.mkdir(parents=True)
    written = {}
    for prefix in ("train", "t10k"):
        images = RNG.integers(0, 256, (n, 28, 28), dtype=np.uint8)
        labels = (np.arange(n) % 10).astype(np.uint8)
        for kind, array in (("images-idx3", images), ("labels-idx1", labels)):
            path = folder / f"{prefix}-{kind}-ubyte{'.gz' if zipped else ''}"
            path.write_bytes(gzip.compress(idx(array)) if zipped else idx(array))
        written[prefix] = images, labels
    return written


def encoded(pixels, kind="PNG"):
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind, **({"lossless": True} if kind == "WEBP" else {}))
    return buffer.getvalue()


def write_parquet(path, images, labels, column="label", kind="WEBP"):
    path.parent.mkdir(parents=True, exist_ok=True)
    struct_of = [{"bytes": encoded(image, kind), "path": None} for image in images]
    pq.write_table(pa.table({"img": struct_of, column: labels}), path)


def write_cifar(root, name="cifar10", n=20, column="label"):
    images = RNG.integers(0, 256, (n, 32, 32, 3), dtype=np.uint8)
    labels = np.arange(n) % 10
    for split in ("train", "test"):
        write_parquet(root / name / f"{split}.parquet", images, labels, column)
    return images, labels


def write_pickles(root, n=5):
    folder = root / "cifar-10-batches-py"
    folder.mkdir(parents=True)
    images = RNG.integers(0, 256, (n, 3072), dtype=np.uint8)
    labels = [int(i % 10) for i in range(n)]
    for name in (*(f"data_batch_{part}" for part in range(1, 6)), "test_batch"):
        (folder / name).write_bytes(pickle.dumps({"data": images, "labels": labels}, protocol=2))
    (folder / "batches.meta").write_bytes(pickle.dumps({"label_names": [f"class{c}" for c in range(10)]}, protocol=2))
    return folder, images, labels


def test_a_batch_is_the_collation_of_its_examples():
    dataset = ArrayDataset(torch.randint(0, 256, (9, 1, 4, 4), dtype=torch.uint8), torch.arange(9))
    rows = [3, 0, 8]
    together = dataset.__getitems__(torch.tensor(rows))
    one_by_one = default_collate([dataset[row] for row in rows])
    assert all(torch.equal(a, b) for a, b in zip(together, one_by_one, strict=True))
    assert torch.equal(together[0], dataset.inputs[rows] / 255)


def test_digits_are_split_once_and_for_all_and_stratified():
    first, second = data.load("digits", seed=0), data.load("digits", seed=1)
    assert torch.equal(first.train.inputs, second.train.inputs)
    assert len(first.train) + len(first.test) == 1797
    shares = first.test.targets.bincount() / (first.train.targets.bincount() + first.test.targets.bincount())
    assert ((shares - 0.2).abs() < 0.02).all()
    assert first.train.inputs.min() == 0
    assert first.train.inputs.max() == 1


@pytest.mark.parametrize("zipped", [True, False])
def test_mnist_is_read_from_idx_files(tmp_path, zipped):
    written = write_mnist(tmp_path, zipped=zipped)
    splits = data.load("mnist", data_root=tmp_path)
    images, labels = written["train"]
    x, y = splits.train.__getitems__(torch.arange(12))
    assert torch.equal(x.squeeze(1), torch.from_numpy(images) / 255)
    assert y.tolist() == labels.tolist()
    assert splits.shape == (1, 28, 28)


@pytest.mark.parametrize("name", ["train-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz"])
@pytest.mark.parametrize("keep", [0, 10, -3])
def test_a_truncated_mnist_file_is_one_clear_error(tmp_path, name, keep):
    write_mnist(tmp_path, zipped=True)
    path = tmp_path / "mnist" / name
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(ValueError, match=f"cannot read .*{name}.*truncated or corrupt"):
        data.load("mnist", data_root=tmp_path)


def test_an_idx_file_that_is_shorter_than_it_says_is_refused(tmp_path):
    write_mnist(tmp_path, zipped=False)
    path = tmp_path / "mnist" / "train-images-idx3-ubyte"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ValueError, match="bytes follow the header"):
        data.load("mnist", data_root=tmp_path)


def test_images_and_labels_of_different_sets_are_refused(tmp_path):
    write_mnist(tmp_path, zipped=False)
    (tmp_path / "mnist" / "train-labels-idx1-ubyte").write_bytes(idx(np.zeros(3, np.uint8)))
    with pytest.raises(ValueError, match="not of one set"):
        data.load("mnist", data_root=tmp_path)


@pytest.mark.parametrize(("name", "column"), [("cifar10", "label"), ("cifar100", "fine_label")])
def test_cifar_is_read_from_parquet_and_then_from_the_cache(tmp_path, private_cache, monkeypatch, name, column):
    images, labels = write_cifar(tmp_path, name, column=column)
    first = data.load(name, data_root=tmp_path)
    assert torch.equal(first.train.inputs, torch.from_numpy(images.transpose(0, 3, 1, 2).copy()))
    assert first.train.targets.tolist() == labels.tolist()
    monkeypatch.setattr("adacore.experiments.data.cifar.decode_all", None)
    again = data.load(name, data_root=tmp_path)
    assert torch.equal(again.train.inputs, first.train.inputs)
    assert len(list(private_cache.iterdir())) == 2


def test_a_source_that_changes_is_decoded_again(tmp_path, private_cache):
    write_cifar(tmp_path)
    data.load("cifar10", data_root=tmp_path)
    images, _ = write_cifar(tmp_path)
    again = data.load("cifar10", data_root=tmp_path)
    assert torch.equal(again.test.inputs, torch.from_numpy(images.transpose(0, 3, 1, 2).copy()))


@pytest.mark.parametrize("damage", ["garbage", "a file in the way"])
def test_a_cache_that_cannot_be_used_is_no_error(tmp_path, private_cache, damage):
    write_cifar(tmp_path)
    if damage == "garbage":
        data.load("cifar10", data_root=tmp_path)
        for path in private_cache.iterdir():
            path.write_bytes(b"garbage")
    else:
        private_cache.write_text("not a folder")
    assert len(data.load("cifar10", data_root=tmp_path).train) == 20


def test_shards_of_the_hub_are_joined(tmp_path, private_cache):
    images = RNG.integers(0, 256, (6, 32, 32, 3), dtype=np.uint8)
    for split in ("train", "test"):
        for part in range(2):
            path = tmp_path / "cifar10" / "plain_text" / f"{split}-0000{part}-of-00002.parquet"
            write_parquet(path, images[part * 3 : part * 3 + 3], [part] * 3)
    splits = data.load("cifar10", data_root=tmp_path)
    assert splits.train.targets.tolist() == [0, 0, 0, 1, 1, 1]


def test_many_images_are_decoded_by_processes_to_the_same_pixels(tmp_path, monkeypatch):
    from adacore.experiments.data import images as module

    pixels = RNG.integers(0, 256, (30, 8, 8, 3), dtype=np.uint8)
    codes = [encoded(image) for image in pixels]
    monkeypatch.setattr(module, "_CHUNK", 7)
    alone = module.decode_all(codes, tmp_path)
    monkeypatch.setattr(module, "_WORTH_PROCESSES", 1)
    monkeypatch.setattr(module, "thread_count", lambda: 2)
    assert np.array_equal(module.decode_all(codes, tmp_path), alone)
    assert np.array_equal(alone, pixels.transpose(0, 3, 1, 2))


def test_a_truncated_parquet_file_is_one_clear_error(tmp_path, private_cache):
    write_cifar(tmp_path)
    path = tmp_path / "cifar10" / "train.parquet"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(ValueError, match=r"cannot read .*train\.parquet.*truncated or corrupt"):
        data.load("cifar10", data_root=tmp_path)


@pytest.mark.parametrize("position", [0, 4])
def test_an_image_that_cannot_be_decoded_is_named(tmp_path, private_cache, position):
    codes = [encoded(image) for image in RNG.integers(0, 256, (6, 32, 32, 3), dtype=np.uint8)]
    codes[position] = codes[position][:40]
    folder = tmp_path / "cifar10"
    folder.mkdir()
    for split in ("train", "test"):
        rows = [{"bytes": code, "path": None} for code in codes]
        pq.write_table(pa.table({"img": rows, "label": [0] * 6}), folder / f"{split}.parquet")
    with pytest.raises(ValueError, match=f"image {position}"):
        data.load("cifar10", data_root=tmp_path)


@pytest.mark.parametrize(("column", "match"), [("target", "its columns are"), ("label", "labels run from")])
def test_parquet_with_other_columns_or_labels_is_refused(tmp_path, private_cache, column, match):
    images = RNG.integers(0, 256, (2, 32, 32, 3), dtype=np.uint8)
    for split in ("train", "test"):
        write_parquet(tmp_path / "cifar10" / f"{split}.parquet", images, [3, 10], column)
    with pytest.raises(ValueError, match=match):
        data.load("cifar10", data_root=tmp_path)


def test_cifar_is_read_from_the_original_pickles(tmp_path):
    _, images, labels = write_pickles(tmp_path)
    splits = data.load("cifar10", data_root=tmp_path)
    assert torch.equal(splits.test.inputs, torch.from_numpy(images.reshape(-1, 3, 32, 32)))
    assert splits.train.targets.tolist() == labels * 5
    assert splits.class_names[3] == "class3"


class Harmful:
    def __reduce__(self):
        return (open, ("harm", "w"))


def test_a_pickle_that_would_run_code_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder, *_ = write_pickles(tmp_path)
    (folder / "data_batch_2").write_bytes(pickle.dumps({"data": Harmful(), "labels": []}))
    with pytest.raises(ValueError, match=r"asks for .*open"):
        data.load("cifar10", data_root=tmp_path)
    assert not (tmp_path / "harm").exists()


@pytest.mark.parametrize("content", [b"", b"\x80\x02garbage", pickle.dumps([1, 2])])
def test_a_broken_pickle_is_one_clear_error(tmp_path, content):
    path = tmp_path / "data_batch_1"
    path.write_bytes(content)
    with pytest.raises(ValueError, match="cannot read"):
        read_pickle(path)


def test_a_missing_batch_is_named(tmp_path):
    folder, *_ = write_pickles(tmp_path)
    (folder / "data_batch_4").unlink()
    with pytest.raises(FileNotFoundError, match="data_batch_4"):
        data.load("cifar10", data_root=tmp_path)


@pytest.mark.parametrize("end", ["", ".bz2"])
def test_ijcnn1_is_read_from_libsvm_text(tmp_path, end):
    folder = tmp_path / "ijcnn1"
    folder.mkdir()
    text = b"-1.0 1:0.5 22:-1\n1 2:0.25\n"
    for name in ("ijcnn1", "ijcnn1.t"):
        (folder / f"{name}{end}").write_bytes(bz2.compress(text) if end else text)
    splits = data.load("ijcnn1", data_root=tmp_path)
    expected = torch.zeros(2, 22)
    expected[0, 0], expected[0, 21], expected[1, 1] = 0.5, -1.0, 0.25
    assert torch.equal(splits.train.inputs, expected)
    assert splits.train.targets.tolist() == [0, 1]


@pytest.mark.parametrize("content", [b"", bz2.compress(b"1 1:1\n" * 2000)[:-20], b"1 1:one\n", b"1 1:nan\n"])
def test_a_broken_libsvm_file_is_one_clear_error(tmp_path, content):
    path = tmp_path / ("rows.bz2" if content.startswith(b"BZ") else "rows")
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"cannot read|holds no|line 1"):
        read_libsvm(path)


def test_the_imbalanced_rule_keeps_ten_per_cent_times_the_class():
    n = 100
    train = ArrayDataset(torch.zeros(10 * n, 1), torch.arange(10).repeat(n))
    splits = imbalanced(data.Splits("toy", train, train, (1,), 10, ()))
    assert splits.train.targets.bincount(minlength=10).tolist() == [10 * c for c in range(10)]
    assert len(splits.test) == 10 * n


@pytest.mark.parametrize(("amount", "size"), [(0.1, 144), (200, 200)])
def test_a_validation_set_is_held_out_stratified_and_seeded(amount, size):
    whole = data.load("digits")
    one, same, other = (data.load("digits", validation=amount, seed=seed) for seed in (0, 0, 1))
    assert len(one.validation) == size
    assert len(one.train) + size == len(whole.train)
    assert torch.equal(one.validation.inputs, same.validation.inputs)
    assert not torch.equal(one.validation.inputs, other.validation.inputs)
    share = one.validation.targets.bincount() / whole.train.targets.bincount()
    assert ((share - size / len(whole.train)).abs() < 0.01).all()
    rows = {tuple(row) for row in whole.train.inputs.flatten(1).tolist()}
    parts = [{tuple(row) for row in part.inputs.flatten(1).tolist()} for part in (one.train, one.validation)]
    assert parts[0] | parts[1] == rows


@pytest.mark.parametrize("amount", [-1, 1.5, 5000, 1437, float("nan"), 3])
def test_a_validation_set_of_an_impossible_size_is_refused(amount):
    with pytest.raises(ValueError, match=r"validation|budget"):
        data.load("digits", validation=amount)


def test_unknown_names_come_with_the_nearest_known_one():
    with pytest.raises(ValueError, match="did you mean 'cifar10'"):
        data.load("cifar-10")


def test_data_that_is_not_there_is_a_clear_error(tmp_path, monkeypatch):
    for name in ("mnist", "cifar10", "cifar100", "ijcnn1", "bdd100k"):
        with pytest.raises(FileNotFoundError, match="--data-root"):
            data.load(name, data_root=tmp_path)
    monkeypatch.setenv("ADACORE_DATA", str(tmp_path / "nowhere"))
    with pytest.raises(FileNotFoundError, match="ADACORE_DATA"):
        data.load("mnist")


def write_bdd100k(root, layout):
    weather = {"train": ["clear", "rainy", "snowy"], "val": ["foggy", "undefined"]}
    for split, values in weather.items():
        folder = root / "bdd100k" / "images" / "100k" / split
        folder.mkdir(parents=True)
        entries = []
        for number, value in enumerate(values):
            Image.fromarray(np.full((72, 128, 3), 10 * number, np.uint8)).save(folder / f"{number}.jpg")
            entries.append({"name": f"{number}.jpg", "attributes": {"weather": value}})
        labels = root / "bdd100k" / "labels"
        if layout == "one for each image":
            (labels / "100k" / split).mkdir(parents=True)
            for number, entry in enumerate(entries):
                (labels / "100k" / split / f"{number}.json").write_text(json.dumps({**entry, "name": str(number)}))
        else:
            name = f"det_20/det_{split}.json" if layout == "det_20" else f"bdd100k_labels_images_{split}.json"
            (labels / name).parent.mkdir(parents=True, exist_ok=True)
            (labels / name).write_text(json.dumps(entries))


@pytest.mark.parametrize("layout", ["det_20", "2018", "one for each image"])
def test_bdd100k_is_read_from_its_published_layouts(tmp_path, layout):
    write_bdd100k(tmp_path, layout)
    splits = data.load("bdd100k", data_root=tmp_path)
    assert [WEATHER[c] for c in splits.train.targets] == ["clear", "rainy", "snowy"]
    assert len(splits.test) == 2
    pixels, target = splits.train[1]
    assert pixels.shape == splits.shape == (3, 224, 224)
    assert target == WEATHER.index("rainy")
    assert pixels.mean().item() == pytest.approx(10 / 255, abs=0.01)
    assert labels_of(splits.train).tolist() == splits.train.targets.tolist()


def test_bdd100k_with_a_missing_image_or_an_unknown_weather_is_refused(tmp_path):
    write_bdd100k(tmp_path, "det_20")
    image = tmp_path / "bdd100k" / "images" / "100k" / "train" / "1.jpg"
    image.unlink()
    with pytest.raises(FileNotFoundError, match=r"1\.jpg"):
        data.load("bdd100k", data_root=tmp_path)
    labels = tmp_path / "bdd100k" / "labels" / "det_20" / "det_train.json"
    labels.write_text(json.dumps([{"name": "0.jpg", "attributes": {"weather": "hail"}}]))
    with pytest.raises(ValueError, match="weather"):
        data.load("bdd100k", data_root=tmp_path)


def test_a_users_own_data_set_is_loaded_by_its_import_path(tmp_path, monkeypatch):
    (tmp_path / "own_data.py").write_text(
        "import torch\nfrom torch.utils.data import TensorDataset\n"
        "def load():\n"
        "    return tuple(TensorDataset(torch.randn(n, 5), torch.arange(n) % 3) for n in (12, 6))\n"
        "def wrong():\n    return 3\n"
        "def regression():\n"
        "    return tuple(TensorDataset(torch.randn(n, 5), torch.randn(n)) for n in (12, 6))\n"
    )
    monkeypatch.chdir(tmp_path)
    splits = data.load("own_data:load", validation=3)
    assert (splits.shape, splits.classes, len(splits.train), len(splits.validation)) == ((5,), 3, 9, 3)
    with pytest.raises(TypeError, match="expected two data sets"):
        data.load("own_data:wrong")
    with pytest.raises(ValueError, match="not whole numbers"):
        data.load("own_data:regression")


def test_the_real_data_sets_are_what_their_papers_say(data_root):
    mnist = data.load("mnist", data_root=data_root)
    assert mnist.train.targets.bincount().tolist() == [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    ijcnn1 = data.load("ijcnn1", data_root=data_root)
    assert ijcnn1.train.targets.bincount().tolist() == [45137, 4853]
    assert len(ijcnn1.test) == 91701


@pytest.mark.slow
def test_real_cifar10_is_decoded_to_the_published_means(data_root, private_cache):
    splits = data.load("cifar10", data_root=data_root)
    means = splits.train.inputs.float().div(255).mean((0, 2, 3))
    assert means.tolist() == pytest.approx([0.4914, 0.4822, 0.4465], abs=1e-4)
    assert splits.test.targets.bincount().tolist() == [1000] * 10
