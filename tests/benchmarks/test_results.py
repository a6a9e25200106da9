"""The CSVs of the benchmarks: what is there is not measured again."""

from _results import append, held, read


def test_what_was_written_is_held_whatever_the_kind_of_its_values(tmp_path):
    file = tmp_path / "a.csv"
    key = {"set": "screw", "ratio": 0.0, "fold": 0, "overlap": False, "tag": ""}
    assert not held(file, **key)
    append(file, key | {"auroc": 0.123456789, "drop": None})
    assert held(file, **key) and held(file, **key | {"ratio": 0}) and held(file, auroc=0.123456789)
    assert not held(file, **key | {"ratio": 0.1}) and not held(file, **key | {"overlap": True})
    assert read(file)[0]["auroc"] == "0.123457" and read(file)[0]["drop"] == ""
