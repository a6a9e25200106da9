"""The report: whole, self-contained, honest, and the same every time."""

from __future__ import annotations

import dataclasses
import re
import subprocess
import sys
from collections import Counter
from html import unescape
from html.parser import HTMLParser

import numpy as np
import pytest

import limbeck
from limbeck.contracts import Artefact
from limbeck.data.transactions import transactions
from limbeck.detector import Detector
from limbeck.errors import InputError, MissingExtraError, OutputError
from limbeck.evaluate import Evaluation, evaluate
from limbeck.report import _by_chance, report, summarise
from limbeck.report_fidelity import said_of_teacher

QUICK = {"resamplers": ["none", "rus"], "folds": 2, "trees": 10, "steps": 150, "refit_below": 0, "measurements": 1}
VOID = {"meta", "link", "br", "hr", "img", "input"}
HOSTILE = '<script>alert("x")</script> $a_b$ & \N{CJK UNIFIED IDEOGRAPH-65E5} \udcff'


@pytest.fixture(scope="module")
def detector() -> Detector:
    return limbeck.fit(transactions(2000, rate=0.03, seed=0), label="fraud", config=QUICK, alpha=0.02)


@pytest.fixture(scope="module")
def following() -> Detector:
    """A student of a committee; its graph, which takes seconds to export and has no part in a report, is left out."""
    x = np.random.default_rng(0).normal(size=(900, 3))
    table = {f"c{j}": x[:, j] for j in range(3)} | {"serial": [f"unit-{i}" for i in range(900)]}
    config = {"teachers": "tails,nearest", "steps": 50, "fewest": 300, "fidelity": -1}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("limbeck.tabular.follow.export", lambda network, x, method: (b"", 0.0))
        return limbeck.fit(table, id="serial", config=config, alpha=0.05)


@pytest.fixture(scope="module")
def evaluation(detector):
    return evaluate(detector, transactions(2000, rate=0.03, seed=1))


@pytest.fixture(scope="module")
def page(detector, evaluation, tmp_path_factory) -> str:
    path = tmp_path_factory.mktemp("report") / "tx.html"
    report(detector, path, evaluation=evaluation)
    assert [p.name for p in path.parent.iterdir()] == ["tx.html"]
    return path.read_text("utf-8")


class Outline(HTMLParser):
    """Checks that every element is closed, in order, and collects what a browser would act on."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.seen: Counter[str] = Counter()
        self.attributes: list[tuple[str, str]] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.handle_startendtag(tag, attrs)
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.seen[tag] += 1
        self.attributes += [(k, v or "") for k, v in attrs]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, tag


def words(text: str) -> str:
    """Return what is read, without the drawings' own text."""
    text = re.sub(r"<svg.*?</svg>|<style.*?</style>", "", text, flags=re.DOTALL)
    return re.sub(r"\s+", " ", unescape(re.sub(r"<[^>]+>", " ", text)))


def with_training(detector: Detector, **changes) -> Detector:
    artefact: Artefact = detector.artefact
    return dataclasses.replace(
        detector, artefact=dataclasses.replace(artefact, training={**artefact.training, **changes})
    )


def with_precision(detector: Detector, shipped: str = "multi-teacher", **average_precision: float) -> Detector:
    """Set what each role reached; the students of one teacher reached little."""
    known = {"distilled": 0.3, "distilled-rows": 0.3} | {k.replace("_", "-"): v for k, v in average_precision.items()}
    rows = [
        {
            **row,
            "shipped": row["role"] == shipped,
            "average_precision": known.get(row["role"], row["average_precision"]),
        }
        for row in detector.artefact.training["candidates"]
    ]
    return with_training(detector, candidates=rows)


def written(detector, path, **options) -> str:
    report(detector, path, **options)
    return path.read_text("utf-8")


def test_it_is_well_formed_and_needs_nothing_else(page):
    outline = Outline(page)
    assert outline.seen["svg"] == 6
    assert not {"script", "link", "img", "iframe", "object", "image", "foreignobject"} & set(outline.seen)
    assert "http" not in page and "@import" not in page and "file:" not in page
    assert all(target.startswith("#") for target in re.findall(r"url\(([^)]*)\)", page))
    assert not [k for k, _ in outline.attributes if k.startswith("on")]
    ids = Counter(v for k, v in outline.attributes if k == "id")
    assert set(ids.values()) == {1}
    targets = [v for k, v in outline.attributes if k in ("href", "xlink:href")] + re.findall(r"url\(([^)]*)\)", page)
    assert targets and {t[1:] for t in targets} <= set(ids)


def test_colours_follow_the_page(page):
    drawings = "".join(re.findall(r"<svg.*?</svg>", page, re.DOTALL))
    assert "var(--strong)" in drawings
    # the one literal colour is the clip rectangles' default, which nobody sees
    assert not re.findall(r"(?:fill|stroke): #(?!000000|ffffff)", drawings)


def test_the_numbers_are_there(page, detector, evaluation):
    text, m = words(page), evaluation.metrics
    for value in (m["average_precision"], m["auroc"], m["recall_at_1pct_fpr"]):
        assert f" {value:.3f} " in text
    assert f" {detector.threshold:.4f} " in text
    assert f"{100 * m['false_alarm_rate']:.3g} % of the normal rows where 2 % was promised" in text
    assert all(f" {key} " in text for key in m)
    alarm = evaluation.score > np.float32(detector.threshold)
    assert f"{alarm.sum():,} of 2,000 rows raise an alarm: {alarm[evaluation.label == 1].sum()} of 60 anomalies" in text
    assert "multi-teacher detector learned from 2,000 rows, 60 of them anomalous" in text
    for candidate in detector.artefact.training["candidates"]:
        name = candidate["name"] + (" (shipped)" if candidate["shipped"] else "")
        assert f" {name} {candidate['average_precision']:.3f} {candidate['auroc']:.3f} " in text
    for column in detector.spec.columns:
        assert f" {column.name} {column.kind} " in text
    for field in ("resamplers none, rus", "temperature 2.0", "1e-05 is allowed", f"limbeck {limbeck.__version__}"):
        assert field in text


def test_the_drawings_say_what_they_are(page):
    drawings = unescape("".join(re.findall(r"<svg.*?</svg>", page, re.DOTALL)))
    for label in ("at the threshold", "chance (3", "threshold (alpha 2", "promised (2", "perfect", "training done, %"):
        assert label in drawings


def test_without_an_evaluation(detector, tmp_path):
    page = written(detector, tmp_path / "a.html")
    assert Outline(page).seen["svg"] == 3
    assert "does not say how good" in page and "calibration normals" in page
    assert "it promises to alarm at most 2\N{NO-BREAK SPACE}% of new normal rows" in page


def test_a_method_that_left_little_behind(detector, evaluation, tmp_path):
    bare = dataclasses.replace(
        detector,
        artefact=dataclasses.replace(detector.artefact, training={}, config={}),
        calibrator=dataclasses.replace(detector.calibrator, affine=None),
        card=dataclasses.replace(detector.card, method="another", n_anomalous=0, notes=(), versions={}),
    )
    page = written(bare, tmp_path / "a.html", evaluation=dataclasses.replace(evaluation, probability=None))
    assert Outline(page).seen["svg"] == 3
    assert "distillation" not in page.lower() and "sigmoid" not in page and "None:" in page


def test_candidates_without_metrics(detector, tmp_path):
    page = written(with_training(detector, candidates=[{"role": "distilled", "name": "student", "weights": 7}]),
                   tmp_path / "a.html")  # fmt: skip
    assert Outline(page).seen["svg"] == 2
    assert " student 7 " in words(page)


def sentences(detector) -> str:
    return " ".join(sentence for _, sentence in summarise(detector)["candidates"]["words"])


@pytest.mark.parametrize("role, name", [("control", "the control"), ("labels", "the plain student")])
@pytest.mark.parametrize("best", [0.5, 0.5004])
def test_it_says_when_distillation_did_not_pay(detector, role, name, best):
    worse = dict.fromkeys({"control", "labels"} - {role}, 0.4)
    said = sentences(with_precision(detector, multi_teacher=0.5, committee=0.8, **{role: best}, **worse))
    assert f"Distillation did not pay here: {name}" in said and "0.500 against 0.500" in said
    assert said.count("did not pay") == 1 and "Average precision is 0.100 above that of" in said
    assert "keeps 62.5\N{NO-BREAK SPACE}% of the committee" in said


def test_it_warns_on_the_page_only_when_it_did_not_pay(detector, tmp_path):
    page = written(with_precision(detector, multi_teacher=0.5, control=0.7, labels=0.6), tmp_path / "a.html")
    assert page.count('<p class="warn">Distillation did not pay') == 2
    page = written(with_precision(detector, multi_teacher=0.9, control=0.5, labels=0.4), tmp_path / "b.html")
    assert "did not pay" not in page and 'class="warn"' not in page


def test_it_says_when_the_student_was_taught_again(detector):
    assert "taught again" not in sentences(detector)
    assert "taught again on all rows" in sentences(with_training(detector, taught_again=True))


@pytest.mark.parametrize("role, name", [("control", "the control"), ("labels", "the plain student")])
def test_it_says_when_what_is_shipped_had_no_teacher(detector, tmp_path, role, name):
    better = {role: 0.6, **dict.fromkeys({"control", "labels"} - {role}, 0.4)}
    tied = with_precision(detector, role, multi_teacher=0.61, **better)
    said = sentences(tied)
    assert f"The shipped student is {name}" in said and "distillation did not pay here" in said
    page = written(tied, tmp_path / "a.html")
    assert page.count('class="warn"') == 1 and page.count(f"{role} (shipped)") == 1


def test_hostile_names_are_only_text(detector, evaluation, tmp_path):
    candidates = [{**row, "name": HOSTILE} for row in detector.artefact.training["candidates"]]
    columns = tuple(dataclasses.replace(c, name=f"{HOSTILE}{i}") for i, c in enumerate(detector.spec.columns))
    hostile = with_training(detector, candidates=candidates, curves={HOSTILE: [2.0, 1.0]})
    hostile = dataclasses.replace(
        hostile,
        card=dataclasses.replace(detector.card, name=HOSTILE, source=HOSTILE, notes=(HOSTILE,), licence=HOSTILE),
        artefact=dataclasses.replace(
            hostile.artefact, spec=dataclasses.replace(detector.spec, columns=columns), config={HOSTILE: HOSTILE}
        ),
    )
    page = written(hostile, tmp_path / "a.html", evaluation=dataclasses.replace(evaluation, source=HOSTILE))
    assert "<script" not in page and "<!--" not in page
    assert Outline(page).seen["script"] == 0
    assert "&lt;script&gt;alert(&#34;x&#34;)&lt;/script&gt; $a_b$ &amp; \N{CJK UNIFIED IDEOGRAPH-65E5} ?" in page


def test_the_same_input_gives_the_same_bytes(page, detector, evaluation, tmp_path):
    import matplotlib

    with matplotlib.rc_context({"font.size": 30, "svg.fonttype": "path"}):  # a user's own settings change nothing
        before = dict(matplotlib.rcParams)
        assert written(detector, tmp_path / "a.html", evaluation=evaluation) == page
        assert dict(matplotlib.rcParams) == before


def test_a_loaded_detector_gives_the_same_report_elsewhere(detector, tmp_path):
    detector.save(tmp_path / "tx.limbeck")
    code = """if True:
        import sys, limbeck, limbeck.report
        assert not {"torch", "sklearn", "matplotlib", "jinja2"} & set(sys.modules)
        limbeck.report.report(limbeck.load("tx.limbeck"), "a.html")
        assert not {"torch", "sklearn", "matplotlib.pyplot"} & set(sys.modules)
    """
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True)
    assert (tmp_path / "a.html").read_text("utf-8") == written(detector, tmp_path / "b.html")


def test_an_existing_file_is_left_alone(detector, tmp_path):
    path = tmp_path / "a.html"
    path.write_text("mine")
    with pytest.raises(OutputError, match="a.html exists"):
        report(detector, path)
    assert path.read_text() == "mine"
    report(detector, str(path), overwrite=True)
    assert path.read_text("utf-8").startswith("<!DOCTYPE html>")
    with pytest.raises(OutputError, match="does not exist"):
        report(detector, tmp_path / "nowhere" / "a.html")


def test_a_failure_leaves_nothing_behind(detector, tmp_path, monkeypatch):
    import jinja2

    def fail(*_, **__):
        raise jinja2.TemplateRuntimeError("broken")

    monkeypatch.setattr(jinja2.Template, "render", fail)
    with pytest.raises(jinja2.TemplateRuntimeError):
        report(detector, tmp_path / "a.html")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("module", ["jinja2", "matplotlib"])
def test_a_missing_extra_is_named(detector, tmp_path, monkeypatch, module):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingExtraError, match=re.escape("pip install 'limbeck[report]'")):
        report(detector, tmp_path / "a.html")
    assert list(tmp_path.iterdir()) == []


def test_an_evaluation_at_another_threshold_is_refused(detector, evaluation, tmp_path):
    with pytest.raises(InputError, match="evaluate again"):
        report(detector.with_alpha(0.1), tmp_path / "a.html", evaluation=evaluation)
    assert list(tmp_path.iterdir()) == []


def scored(detector: Detector, score, label) -> Evaluation:
    from limbeck.evaluate import _measure

    score, label = np.asarray(score, dtype=np.float32), np.asarray(label, dtype=np.int8)
    probability = detector.calibrator.probability(score)
    return Evaluation(_measure(detector, label, score, probability), label, score, probability, "made up")


def test_scores_that_are_all_equal_or_far_away(detector, tmp_path):
    label = np.r_[np.zeros(300), np.ones(3)]
    rng = np.random.default_rng(0)
    for name, score in {
        "equal": np.full(303, -5.0),
        "alarmed": np.full(303, detector.threshold + 1.0),
        "far": np.r_[rng.normal(-5, 1, 300), 3.0, 500.0, 1e9],
    }.items():
        page = written(detector, tmp_path / f"{name}.html", evaluation=scored(detector, score, label))
        assert Outline(page).seen["svg"] == 6 and "nan" not in page.lower()
        drawing = re.findall(r"<svg.*?</svg>", page, re.DOTALL)[1]
        assert "1e9" not in drawing  # the far score shares the outermost bar


def test_the_realised_rate_is_set_beside_chance(detector):
    rng = np.random.default_rng(0)
    label = np.r_[np.zeros(2000), np.ones(20)]
    for rate, said in ((0.0, "below"), (0.02, "inside"), (0.2, "above")):
        normal = np.where(rng.random(2000) < rate, detector.threshold + 1, detector.threshold - 1)
        found = summarise(detector, scored(detector, np.r_[normal, np.full(20, 9.0)], label))
        assert found["measured"]["beside_chance"] == said


@pytest.mark.parametrize("alpha, m, n", [(0.01, 99, 50), (0.01, 1580, 7904), (0.5, 1, 3), (0.05, 10_000, 200_000)])
def test_chance_is_the_beta_binomial(alpha, m, n):
    from scipy.stats import betabinom

    allowed = round(alpha * (m + 1) - 0.49)
    oracle = betabinom(n, allowed, m + 1 - allowed).ppf([0.025, 0.975]) / n
    np.testing.assert_allclose(_by_chance(alpha, m, n), oracle, atol=1.01 / n)


def test_a_student_beside_its_teacher(following, tmp_path):
    page = written(following, tmp_path / "a.html")
    text, training = words(page), following.artefact.training
    assert Outline(page).seen["svg"] == 4  # scores, pairs, overlap, loss
    fidelity, costs = training["fidelity"], training["costs"]
    assert f"has not learned, its rank correlation with the committee is {fidelity['spearman']:.3f}; of" in text
    times = costs["bytes"]["teacher"] / costs["bytes"]["student"]
    assert f": {times:.2g} times as much" in text or f": {times:,.0f} times as much" in text
    assert "scores one row" in text and "144 rows" in text and "All 144 rows held out" in text
    for member in training["members"]:
        assert f" {member['name']} 50 % {member['agreement']:.3f} {member['student']:.3f} " in text
    for row in training["comparison"]["apart"]:
        assert f" {row['id']} {100 * row['teacher_rank']:.1f} {100 * row['student_rank']:.1f} " in text
    drawing = unescape("".join(re.findall(r"<svg.*?</svg>", page, re.DOTALL)))
    assert all(w in drawing for w in ("other rows", "strangest of both", "chance", "calibration rows"))
    assert drawing.count("<use") >= 144
    assert "calibration normals" not in page and "normal rows" not in text, "nobody knows which they are"
    following.save(tmp_path / "a.limbeck")
    assert written(limbeck.load(tmp_path / "a.limbeck"), tmp_path / "b.html") == page


def test_what_is_known_of_stored_scores_and_of_functions(following, tmp_path):
    training = following.artefact.training
    comparison = training["comparison"] | {"teacher": "the stored scores", "apart": []}
    costs = training["costs"] | {"bytes": {"student": 5252, "teacher": None}}
    stored = with_training(following, members=[], comparison=comparison, costs=costs | {"seconds": []})
    text = words(written(stored, tmp_path / "a.html"))
    assert "take 5.3 kB; of the stored scores neither size nor speed is known." in text
    assert "Where they differ" not in text and "unit-" not in text and "The detectors of" not in text
    seconds = [
        {"rows": rows, "turns": 3, "teacher": t, "student": s} for rows, t, s in ((1, 2.5, 5e-5), (9, 3e-3, 6e-3))
    ]
    said = said_of_teacher(stored.artefact.training | {"costs": costs | {"seconds": seconds}})
    text = " ".join(said["words"]).replace("\N{NO-BREAK SPACE}", " ")
    assert "how much the stored scores takes is not known" in text
    assert "one row 50,000 times as fast (50 \N{MICRO SIGN}s instead of 2.5 s)" in text
    assert "9 rows 0.5 times as fast (6 ms instead of 3 ms)" in text


def test_hostile_rows_are_only_text(following, tmp_path):
    comparison = following.artefact.training["comparison"]
    row = comparison["apart"][0] | {"id": HOSTILE, "unusual": [{"column": HOSTILE, "value": 1.0, "spreads": 2.0}]}
    page = written(with_training(following, comparison=comparison | {"apart": [row], "teacher": HOSTILE}),
                   tmp_path / "a.html")  # fmt: skip
    assert "<script" not in page and Outline(page).seen["script"] == 0 and page.count("&lt;script&gt;") >= 3
