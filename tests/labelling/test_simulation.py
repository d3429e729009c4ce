import time

import numpy as np
import pytest
from sklearn.datasets import load_digits

from adacore.labelling.methods import Pool, Predictions, parse_method, snapshot_of
from adacore.labelling.simulation import Simulation, predict, split_trial
from adacore.probing.snapshot import Curvature, Requirements

X, Y = load_digits(return_X_y=True)
TRIAL = split_trial(X[:600] / 16, Y[:600], seed=0, pool=300)
FEATURES_ONLY = [
    "random",
    "facility_location",
    "facility_location(metric=cosine, weighted=true)",
    "k_center",
    "k_means",
    "typiclust",
]
BY_MODEL = ["margin", "entropy", "least_confidence", "badge", "adacore(targets=predicted)", "craig(targets=predicted)"]


@pytest.mark.parametrize("name", [*FEATURES_ONLY, *BY_MODEL])
def test_every_method_labels_what_it_is_asked_to_and_no_row_twice(name):
    simulation = Simulation([name], [10, 25])
    (method,) = simulation.parsed
    rounds = list(simulation._rounds(TRIAL, method))
    for budget, labelled, _ in rounds:
        assert len(labelled) == budget == len(set(labelled.tolist()))
    if method.nested or method.needs_model:
        assert rounds[1][1][:10].tolist() == rounds[0][1].tolist()


def test_choosing_beats_random_rows_on_digits():
    outcomes = {}
    for name in ("random", "facility_location"):
        simulation = Simulation([name], [20], ["nearest"])
        outcomes[name] = [
            outcome.accuracy
            for seed in range(4)
            for outcome in simulation.run(split_trial(X / 16, Y, seed=seed), simulation.parsed[0])
        ]
    assert np.mean(outcomes["facility_location"]) > np.mean(outcomes["random"]) + 0.1


def test_a_trial_never_tests_on_rows_of_its_pool():
    rows = np.arange(50.0)[:, None]
    trial = split_trial(rows, np.zeros(50, int), seed=3)
    assert not set(trial.features.ravel()) & set(trial.test_features.ravel())
    assert len(trial.features) + len(trial.test_features) == 50


def test_the_simulated_gradients_are_those_of_cross_entropy_at_the_predicted_class():
    torch = pytest.importorskip("torch")
    labelled = np.arange(40)
    known = predict(TRIAL, labelled)
    pool = Pool(TRIAL.features, labelled, known)
    logits = torch.tensor(np.log(known.probabilities), requires_grad=True)
    loss = torch.nn.functional.cross_entropy(logits, logits.argmax(1), reduction="sum")
    expected = torch.autograd.grad(loss, logits)[0].numpy()
    generator = np.random.default_rng(0)
    assert np.allclose(
        snapshot_of(pool, Requirements(proxy="logits", targets="predicted"), generator).proxies, expected, atol=1e-6
    )
    penultimate = snapshot_of(pool, Requirements(proxy="penultimate", targets="predicted"), generator).proxies
    assert np.allclose(penultimate, expected @ known.weight, atol=1e-4)
    curvature = snapshot_of(pool, Requirements(curvature=Curvature(scope="example")), generator).curvature
    p = known.probabilities
    assert np.allclose(curvature, p * (1 - p), atol=1e-6)


def test_projected_last_layer_gradients_keep_inner_products_on_average():
    draws = np.random.default_rng(0)
    p = draws.dirichlet(np.ones(4), 6)
    h = draws.normal(size=(6, 5))
    pool = Pool(h, np.arange(0), Predictions(p, draws.normal(size=(4, 5)), h))
    needs = Requirements(proxy="last_layer", projection=4096, targets="predicted")
    sketch = snapshot_of(pool, needs, np.random.default_rng(1)).proxies.astype(np.float64)
    residual = p - np.eye(4)[p.argmax(1)]
    exact = (residual @ residual.T) * (h @ h.T)
    assert np.allclose(sketch @ sketch.T, exact, atol=0.2 * np.abs(exact).max())


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("facility", "unknown method"),
        ("facility_location(metric=l1)", "unknown metric"),
        ("facility_location(speed=3)", "unknown setting"),
        ("random(seed=1)", "no settings"),
        ("craig", r"write craig\(targets=predicted\)"),
        ("glister", "needs the labels"),
        ("loss", "needs the labels"),
    ],
)
def test_methods_that_cannot_choose_labels_are_refused(name, message):
    with pytest.raises(ValueError, match=message):
        parse_method(name)


def test_settings_out_of_range_are_refused():
    with pytest.raises(ValueError, match="budgets"):
        Simulation(["random"], [0])
    with pytest.raises(ValueError, match="needs a model"):
        Simulation(["random"], [5], start="margin")
    with pytest.raises(ValueError, match="unknown estimator"):
        Simulation(["random"], [5], ["nearst"])
    simulation = Simulation(["random"], [5000])
    with pytest.raises(ValueError, match="exceeds the pool"):
        list(simulation.run(TRIAL, simulation.parsed[0]))


def test_any_classifier_by_its_import_path():
    simulation = Simulation(["random"], [30], ["sklearn.naive_bayes:GaussianNB"])
    (outcome,) = simulation.run(TRIAL, simulation.parsed[0])
    assert 0 < outcome.accuracy <= 1


def test_weights_go_to_estimators_that_take_them_and_no_other():
    simulation = Simulation(
        ["facility_location(weighted=true)"], [20], ["sklearn.neighbors:KNeighborsClassifier", "sklearn.svm:SVC"]
    )
    assert len(list(simulation.run(TRIAL, simulation.parsed[0]))) == 2


def test_seconds_of_choosing_do_not_count_what_is_done_between_rounds():
    simulation = Simulation(["margin"], [10, 12, 14])
    seconds = []
    for _, _, spent in simulation._rounds(TRIAL, simulation.parsed[0]):
        seconds.append(spent)
        time.sleep(4.0)
    assert seconds[-1] - seconds[0] < 8.0
