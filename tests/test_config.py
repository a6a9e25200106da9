from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import pytest

from limbeck import config
from limbeck.config import knob
from limbeck.errors import ConfigError
from limbeck.tabular.config import RESAMPLERS, STUDENTS, MultiTeacherConfig

FIELDS = dataclasses.fields(MultiTeacherConfig)


@dataclass(frozen=True)
class Knobs:
    count: int = knob(3, "how many", config.at_least(1))
    rate: float = knob(0.5, "how often", config.share)
    size: float = knob(1.0, "how large", config.between(0.5, 2))
    on: bool = knob(False, "whether")
    word: str = knob("a", "which", config.one_of("a", "b"))
    words: tuple[str, ...] = knob(("a",), "which ones", config.subset_of("a", "b", "c"))
    free: str = knob("", "anything")


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("count", "7", 7),
        ("count", " 7 ", 7),
        ("count", 7.0, 7),
        ("rate", "0.25", 0.25),
        ("rate", "1e-3", 0.001),
        ("rate", 1, 1.0),
        ("on", "true", True),
        ("on", "YES", True),
        ("on", "1", True),
        ("on", "False", False),
        ("on", "no", False),
        ("on", "0", False),
        ("on", True, True),
        ("word", "b", "b"),
        ("words", "c, a", ("c", "a")),
        ("words", "b", ("b",)),
        ("words", ["a", "b"], ("a", "b")),
        ("words", "a,,b,", ("a", "b")),
        ("free", 5, "5"),
    ],
)
def test_a_value_is_converted_to_the_type_of_its_field(name, value, expected):
    found = getattr(config.replace(Knobs(), {name: value}), name)
    assert found == expected and type(found) is type(expected)


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("count", "many", "int"),
        ("count", "1.5", "int"),
        ("count", 1.5, "int"),
        ("count", float("nan"), "int"),
        ("count", None, "int"),
        ("count", 0, "at least 1"),
        ("rate", "x", "float"),
        ("rate", "nan", "float"),
        ("rate", float("nan"), "float"),
        ("rate", 1.01, "from 0 to 1"),
        ("rate", "-0.1", "from 0 to 1"),
        ("rate", "inf", "from 0 to 1"),
        ("size", 0.4, "from 0.5 to 2"),
        ("size", 2.1, "from 0.5 to 2"),
        ("on", "maybe", "bool"),
        ("on", 2, "bool"),
        ("word", "c", "one of a, b"),
        ("words", "a,d", "one or more different ones of a, b, c"),
        ("words", "a,a", "one or more different ones of a, b, c"),
        ("words", "", "one or more different ones of a, b, c"),
        ("words", 5, "comma-separated"),
    ],
)
def test_a_value_that_does_not_fit_is_refused_by_name(name, value, expected):
    with pytest.raises(ConfigError, match=f"field {name!r} cannot have this value") as refused:
        config.replace(Knobs(), {name: value})
    assert expected in str(refused.value) and repr(value) in str(refused.value)


def test_the_edges_of_a_range_are_inside():
    for values in ({"rate": 0}, {"rate": 1}, {"size": 0.5}, {"size": 2}, {"count": 1}):
        assert config.replace(Knobs(), values) != Knobs()


def test_replace_changes_a_copy_and_keeps_the_rest():
    before = Knobs(count=9)
    after = config.replace(before, {"rate": "0.1", "on": "yes"})
    assert after == Knobs(count=9, rate=0.1, on=True)
    assert before == Knobs(count=9)
    assert config.replace(before, {}) == before


def test_an_unknown_field_is_refused_with_the_list_of_fields():
    with pytest.raises(ConfigError, match="no field 'counts'") as refused:
        config.replace(Knobs(), {"counts": 3})
    assert "count, free, on, rate, size, word, words" in str(refused.value)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "lightgbm,sklearn.ensemble.ExtraTreesClassifier(n_estimators=5,min_samples_leaf=2)",
            ("lightgbm", "sklearn.ensemble.ExtraTreesClassifier(n_estimators=5,min_samples_leaf=2)"),
        ),
        ("a.B(x=1, y=2) , mlp,c.D()", ("a.B(x=1, y=2)", "mlp", "c.D()")),
        ("a.B(x=[1,2,3]),c.D(x={1:2,3:4})", ("a.B(x=[1,2,3])", "c.D(x={1:2,3:4})")),
        ("a.B(x=(1,2),y=3),mlp", ("a.B(x=(1,2),y=3)", "mlp")),
        ("a.B", ("a.B",)),
        ("a.B(y=3,x=(1,2)),mlp", ("a.B(y=3,x=(1,2))", "mlp")),
        ("a.B(y=')',x='(,'),mlp", ("a.B(y=')',x='(,')", "mlp")),
    ],
)
def test_a_list_is_split_at_commas_outside_brackets(text, expected):
    assert config.replace(MultiTeacherConfig(), {"teachers": text}).teachers == expected


def test_a_kind_in_a_preset_is_an_item_of_its_list(tmp_path):
    preset = tmp_path / "preset.toml"
    preset.write_text('teachers = ["mlp", "a.B(x=1, y=(2, 3))"]\n')
    found = config.replace(MultiTeacherConfig(), config.read_toml(preset))
    assert found.teachers == ("mlp", "a.B(x=1, y=(2, 3))")


def test_a_malformed_kind_is_refused_with_what_a_kind_looks_like():
    for text in ("a.B(x=1", "catboost", "a.B(1)", "mlp,mlp"):
        with pytest.raises(ConfigError, match="field 'teachers' cannot have this value") as refused:
            config.replace(MultiTeacherConfig(), {"teachers": text})
        assert "different ones of lightgbm, mlp, or package.module.Class(setting=value)" in str(refused.value)


def test_a_setting_that_cannot_be_hashed_is_refused():
    with pytest.raises(ConfigError, match="teachers"):
        config.replace(MultiTeacherConfig(), {"teachers": "a.B(x={[1]: 2})"})


@pytest.mark.parametrize(
    ("text", "expected"),
    [("trees=5", ("trees", "5")), (" a = b ", ("a", "b")), ("a=b=c", ("a", "b=c")), ("a=", ("a", ""))],
)
def test_an_assignment_is_split_once(text, expected):
    assert config.parse_assignment(text) == expected


@pytest.mark.parametrize("text", ["trees", "=5", "", " = 5"])
def test_what_is_not_an_assignment_is_refused(text):
    with pytest.raises(ConfigError, match="--set takes an assignment"):
        config.parse_assignment(text)


def test_a_preset_is_read_from_toml(tmp_path):
    preset = tmp_path / "preset.toml"
    preset.write_text('trees = 50\nratio = 1\nrefit_below = 0\nresamplers = ["none", "rus"]  # two\nstudent = "tiny"\n')
    found = config.replace(MultiTeacherConfig(), config.read_toml(preset))
    assert found == MultiTeacherConfig(trees=50, ratio=1.0, refit_below=0, resamplers=("none", "rus"), student="tiny")


def test_a_table_in_a_preset_is_an_unknown_field(tmp_path):
    preset = tmp_path / "preset.toml"
    preset.write_text("[student]\nsize = 1\n[teacher]\n")
    with pytest.raises(ConfigError):
        config.replace(MultiTeacherConfig(), config.read_toml(preset))


@pytest.mark.parametrize("content", [b"trees = \n", b"trees 5", b"trees = 1\ntrees = 2\n", b"\xff\xfe", b"a: 1"])
def test_a_bad_preset_names_its_file(tmp_path, content):
    preset = tmp_path / "preset.toml"
    preset.write_bytes(content)
    with pytest.raises(ConfigError, match=r"preset\.toml is not a TOML file"):
        config.read_toml(preset)


def test_a_preset_that_is_not_there_names_its_file(tmp_path):
    with pytest.raises(ConfigError, match=r"cannot read the configuration .*absent\.toml"):
        config.read_toml(tmp_path / "absent.toml")
    with pytest.raises(ConfigError, match="cannot read the configuration"):
        config.read_toml(tmp_path)


def test_config_class_finds_the_class_of_a_reference():
    assert config.config_class("limbeck.tabular.config:MultiTeacherConfig") is MultiTeacherConfig


def test_describe_lists_every_field_with_default_and_comment():
    listed = config.describe(Knobs)
    assert listed[0] == ("count", "3", "how many")
    assert [name for name, _, _ in listed] == [f.name for f in dataclasses.fields(Knobs)]


@pytest.mark.parametrize("field", FIELDS, ids=lambda f: f.name)
def test_every_field_of_multi_teacher_has_a_comment_a_rule_and_a_default_that_obeys_it(field):
    assert len(field.metadata["comment"]) > 5
    rule = field.metadata["rule"]
    assert rule is None if field.type == "bool" else rule(field.default) is None


@pytest.mark.parametrize("field", FIELDS, ids=lambda f: f.name)
def test_every_default_of_multi_teacher_survives_a_trip_through_text(field):
    text = ",".join(field.default) if isinstance(field.default, tuple) else str(field.default)
    assert config.replace(MultiTeacherConfig(), {field.name: text}) == MultiTeacherConfig()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("resamplers", "none,smotetomek"),
        ("teachers", ""),
        ("teachers", "xgboost"),
        ("teachers", "lightgbm,lightgbm"),
        ("teachers", "lightgbm,GaussianNB"),
        ("teachers", "sklearn.naive_bayes.GaussianNB(1e-8)"),
        ("teachers", "sklearn.naive_bayes.GaussianNB(var_smoothing=x)"),
        ("teachers", "sklearn.naive_bayes.GaussianNB(var_smoothing=1e-8"),
        ("teachers", ["a.B(x=print())"]),
        ("normals", "-1"),
        ("kinds", "some"),
        ("weights", "median"),
        ("reliability", "0"),
        ("columns", "0"),
        ("swap_anomalous", "1.1"),
        ("choice", "committee"),
        ("soft_loss", "plain"),
        ("hard_loss", "huber"),
        ("refit_below", "-1"),
        ("label_noise", "1.5"),
        ("feature_noise", "-0.1"),
        ("missing", "0.96"),
        ("ratio", "1.5"),
        ("folds", "-1"),
        ("trees", "0"),
        ("leaves", "1"),
        ("student", "giant"),
        ("temperature", "0"),
        ("batch", "1"),
        ("validation", "0.6"),
        ("validation", "0"),
        ("max_categories", "0"),
    ],
)
def test_multi_teacher_refuses_values_out_of_range(name, value):
    with pytest.raises(ConfigError, match=name):
        config.replace(MultiTeacherConfig(), {name: value})


def test_every_resampler_and_student_can_be_chosen():
    for resampler in RESAMPLERS:
        assert config.replace(MultiTeacherConfig(), {"resamplers": resampler}).resamplers == (resampler,)
    for student in STUDENTS:
        assert config.replace(MultiTeacherConfig(), {"student": student}).student == student


def test_a_configuration_is_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        MultiTeacherConfig().trees = 1


@pytest.mark.parametrize(("name", "value"), [("resamplers", [1, 2]), ("ratio", 10**400)])
def test_values_of_a_wrong_type_in_a_preset(name, value):
    with pytest.raises(ConfigError, match=name):
        config.replace(MultiTeacherConfig(), {name: value})
