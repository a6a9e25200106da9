from __future__ import annotations

import io
import pickle

import numpy as np
import pytest
from lightgbm import Booster
from sklearn.ensemble import ExtraTreesClassifier
from sklearn.naive_bayes import GaussianNB

from limbeck.errors import ConfigError
from limbeck.tabular import kinds
from limbeck.tabular.config import MultiTeacherConfig, parse_kind
from limbeck.tabular.encode import learn_features
from limbeck.tabular.kinds import EXTREME, SUREST, check_kind, learn, restore

NB, TREES = "sklearn.naive_bayes.GaussianNB", "sklearn.ensemble.ExtraTreesClassifier(n_estimators=8)"
CONFIG = MultiTeacherConfig(trees=15)
CATEGORICAL = (3,)


@pytest.fixture(autouse=True)
def few_steps(monkeypatch):
    monkeypatch.setattr(kinds, "NETWORK_STEPS", 60)
    monkeypatch.setattr(kinds, "NETWORK_BATCH", 64)


def rows(n=500, seed=0):
    rng = np.random.default_rng(seed)
    y = (rng.random(n) < 0.2).astype(np.int8)
    x = rng.normal(size=(n, 4)) * [1e4, 1, 1e-3, 1]
    x[:, 1] += 2 * y
    x[:, 3] = rng.integers(0, 4, n)
    x[rng.random(n) < 0.1, 0] = np.nan
    return x, y


def taught(kind, seed=0):
    return learn(kind, *rows(), CONFIG, seed=seed, categorical=CATEGORICAL)


@pytest.mark.parametrize(
    ("kind", "name", "settings"),
    [
        ("lightgbm", "lightgbm", {}),
        ("mlp", "mlp", {}),
        ("a.B", "a.B", {}),
        ("a.b_1.C()", "a.b_1.C", {}),
        ("_a.B(x=1)", "_a.B", {"x": 1}),
        (
            "a.B(i=-2, f=1e-3, t=True, n=None, s='a, (b)=c', l=[1, [2]], p=(3,), d={'k': 4.5}, e=())",
            "a.B",
            {"i": -2, "f": 0.001, "t": True, "n": None, "s": "a, (b)=c", "l": [1, [2]], "p": (3,), "d": {"k": 4.5},
             "e": ()},
        ),
        ("a.B(\n  x=1,\n  y=2,\n)", "a.B", {"x": 1, "y": 2}),
    ],
)  # fmt: skip
def test_a_kind_is_split_into_name_and_settings(kind, name, settings):
    assert parse_kind(kind) == (name, settings)


@pytest.mark.parametrize(
    "kind",
    [
        "", "LightGBM", "xgboost", "mlp()", "lightgbm(trees=3)", "GaussianNB", "GaussianNB()", ".a.B", "a..B", "a.B.",
        "1a.B", "a.1", "a-b.C", "a b.C", " a.B", "a.B ", "a.B(", "a.B)", "a.B(x=1", "a.B(x=1))", "a.B(x=1) + 1",
        "a.B[0]", "a.B; import os",
        "a.B(1)", "a.B('x')", "a.B(1, x=2)", "a.B(*[1])", "a.B(**{'x': 1})", "a.B(x=1, **{})",
        "a.B(x=print())", "a.B(x=__import__('os').system('true'))", "a.B(x=y)", "a.B(x=a.b)", "a.B(x=lambda: 1)",
        "a.B(x=[i for i in (1, 2)])", "a.B(x=f'{1}')", "a.B(x=2**99)", "a.B(x=1 if 1 else 2)", "a.B(x := 1)",
        "a.B(x=1; y=2)", "a.B(import os)", "a.B(x=)", "a.B(x=1 y=2)", "a.B(1=2)", "a.B(x=\0)",
    ],
)  # fmt: skip
def test_what_is_not_a_kind_is_refused(kind):
    with pytest.raises(ValueError):
        parse_kind(kind)


@pytest.mark.parametrize("kind", ["a.B(x=1)(y=2)", "a.B(x=1).c(y=2)", "a.B(x=1)#)", "a.B(x=1, x=2)"])
def test_nothing_of_a_kind_is_passed_over_in_silence(kind):
    with pytest.raises(ValueError):
        parse_kind(kind)


@pytest.mark.parametrize("kind", ["a.B(x={[1]: 2})", "a.B(x={{1}})"])
def test_settings_that_cannot_be_hashed_are_refused(kind):
    with pytest.raises(ValueError):
        parse_kind(kind)


@pytest.mark.parametrize("kind", ["lightgbm", "mlp", NB, TREES, "sklearn.naive_bayes.GaussianNB(var_smoothing=1e-8)"])
def test_kinds_that_can_be_made_pass(kind):
    assert check_kind(kind) is None


@pytest.mark.parametrize(
    ("kind", "got"),
    [
        ("no_such_package_at_all.Class", "No module named 'no_such_package_at_all'"),
        ("sklearn.no_such_module.Class", "No module named 'sklearn.no_such_module'"),
        ("sklearn.naive_bayes.NoSuchClass", "NoSuchClass"),
        ("sklearn.naive_bayes.GaussianNB(no_such_setting=1)", "no_such_setting"),
    ],
)
def test_a_class_that_cannot_be_made_is_refused_with_the_reason(kind, got):
    with pytest.raises(ConfigError, match="cannot (make the|be a) teacher") as refused:
        check_kind(kind)
    assert repr(kind) in str(refused.value) and got in str(refused.value)
    assert "package.module.Class(setting=value)" in str(refused.value)


@pytest.mark.parametrize(
    ("kind", "got"),
    [
        ("sklearn.svm.LinearSVC(C=2.0)", "LinearSVC"),  # no predict_proba
        ("sklearn.linear_model.LinearRegression", "LinearRegression"),
        ("sklearn.svm.SVC", "SVC"),  # has it with probability=True alone
        ("collections.OrderedDict", "OrderedDict"),
        ("sklearn.naive_bayes.__doc__", "Naive Bayes"),
    ],
)
def test_a_class_without_predict_proba_is_refused(kind, got):
    with pytest.raises(ConfigError, match="cannot be a teacher") as refused:
        check_kind(kind)
    assert got in str(refused.value) and "fit and predict_proba" in str(refused.value)


def test_what_has_no_predict_proba_is_not_called(tmp_path):
    with pytest.raises(ConfigError):
        check_kind(f"os.mkdir(path={str(tmp_path / 'made')!r})")
    assert not (tmp_path / "made").exists()


def test_any_error_of_a_class_is_told_as_the_configuration_s():
    with pytest.raises(ConfigError, match="cannot (make the|be a) teacher"):
        check_kind("decimal.Context(prec=-1)")


@pytest.mark.parametrize("kind", ["lightgbm", "mlp"])
def test_a_restored_model_says_the_same_bit_for_bit(kind):
    model = taught(kind)
    new = rows(300, seed=1)[0]
    new[0] = np.nan
    new[1, 3] = 99  # a code that was never seen
    saved = model.to_bytes()
    assert isinstance(saved, bytes) and model.bytes == len(saved)
    again = restore(kind, saved)
    np.testing.assert_array_equal(again(new), model(new))
    assert again.to_bytes() == saved or kind == "mlp"  # a zip file holds the time
    assert type(again) is type(model) and np.unique(model(new)).size > 10


def test_a_stored_network_is_read_without_running_code():
    class Evil:
        def __reduce__(self):
            return pytest.fail, ("code ran",)

    tensors = taught("mlp").network.tensors()
    handle = io.BytesIO()
    np.savez(handle, **{name: np.array([Evil()], dtype=object) for name in tensors})
    with pytest.raises(ValueError, match="allow_pickle"):
        restore("mlp", handle.getvalue())


def test_lightgbm_says_its_raw_score_within_bounds():
    model = taught("lightgbm")
    new = rows(300, seed=1)[0]
    assert model.booster.num_trees() == 15
    raw = Booster(model_str=model.to_bytes().decode()).predict(new, raw_score=True)
    np.testing.assert_array_equal(model(new), raw)
    assert abs(raw).max() < EXTREME

    class Loud:
        def predict(self, x, **options):
            return np.array([-1e3, 5.0, 1e3])

    assert kinds.Boosted(Loud())(new).tolist() == [-EXTREME, 5.0, EXTREME]


@pytest.mark.parametrize(
    ("field", "value", "name", "wanted"),
    [
        ("columns", 0.4, "feature_fraction", "0.4"),
        ("columns", None, "feature_fraction", "0.5"),
        ("leaves", 5, "num_leaves", "5"),
        ("learning_rate", 0.2, "learning_rate", "0.2"),
    ],
)
def test_the_configuration_reaches_lightgbm(field, value, name, wanted):
    config = MultiTeacherConfig(**{"trees": 2, **({} if value is None else {field: value})})
    text = learn("lightgbm", *rows(), config, seed=7, categorical=CATEGORICAL).to_bytes().decode()
    for line in (f"[{name}: {wanted}]", "[seed: 7]", "[num_threads: 1]", "[objective: binary]"):
        assert line in text


def test_the_network_is_the_forward_pass_of_two_wide_layers():
    model = taught("mlp")
    new = rows(300, seed=1)[0]
    h = model.network.features(new).astype(np.float64)
    assert [w.shape for w in model.network.weights] == [(h.shape[1], 128), (128, 128), (128, 1)]
    for w, b in zip(model.network.weights[:-1], model.network.biases[:-1], strict=True):
        h = np.maximum(h @ w + b, 0)
    wanted = (h @ model.network.weights[-1] + model.network.biases[-1])[:, 0]
    np.testing.assert_allclose(model(new), wanted, atol=1e-5)
    assert model(new).dtype == np.float64


@pytest.mark.parametrize(
    ("kind", "made"),
    [
        (NB, lambda: GaussianNB()),
        ("sklearn.naive_bayes.GaussianNB(var_smoothing=0.1)", lambda: GaussianNB(var_smoothing=0.1)),
        (TREES, lambda: ExtraTreesClassifier(n_estimators=8, random_state=3)),
        (
            "sklearn.ensemble.ExtraTreesClassifier(n_estimators=8, random_state=11)",  # the setting wins
            lambda: ExtraTreesClassifier(n_estimators=8, random_state=11),
        ),
    ],
)
def test_a_classifier_says_the_log_odds_of_its_own_probability(kind, made):
    x, y = rows()
    new = rows(400, seed=1)[0]
    new[:3, 1] = [60.0, -60.0, np.nan]  # as sure as can be, either way
    features = learn_features(x, CATEGORICAL)
    p = made().fit(features(x), y).predict_proba(features(new))[:, 1].astype(float)
    p = np.clip(p, 1e-6, 1 - 1e-6)
    said = taught(kind, seed=3)(new)
    assert (p == SUREST).any() or (p == 1 - SUREST).any()
    np.testing.assert_allclose(said, np.log(p / (1 - p)), rtol=1e-9, atol=1e-9)
    assert said.dtype == np.float64 and abs(said).max() <= np.log((1 - 1e-6) / 1e-6) + 1e-6


def test_a_classifier_has_no_form_that_is_safe_to_read():
    model = taught(NB)
    assert model.to_bytes() is None
    assert model.bytes == len(pickle.dumps(model.classifier)) > 100


@pytest.mark.parametrize("kind", ["lightgbm", "mlp", TREES])
def test_the_same_seed_gives_the_same_model(kind):
    new = rows(200, seed=1)[0]
    first, again, other = (taught(kind, seed=s)(new) for s in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


@pytest.mark.parametrize("kind", ["lightgbm", "mlp", NB, TREES])
def test_each_kind_learns(kind, monkeypatch):
    from sklearn.metrics import roc_auc_score

    monkeypatch.setattr(kinds, "NETWORK_STEPS", 300)
    new, y = rows(1000, seed=1)
    assert roc_auc_score(y, taught(kind)(new)) > 0.85  # the truth has 0.92
