"""The table of the comparison with SUOD."""

import against_suod


def test_qualities_are_means_and_times_and_sizes_are_medians(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(against_suod, "RESULTS", tmp_path / "it.csv")
    for seed, (auroc, size) in enumerate([(0.7, 5000), (0.8, 6000), (0.9, 90_000)]):
        for model in (against_suod.ENSEMBLE, against_suod.STUDENT):
            figures = dict.fromkeys(against_suod.KEYS, 1.5) | {"auroc": auroc, "model_bytes": size}
            refused = seed == 1 if model == against_suod.STUDENT else ""
            against_suod.append(
                against_suod.RESULTS, {"set": "a", "seed": seed, "model": model, **figures, "refused": refused}
            )
    against_suod.table()
    lines = capsys.readouterr().out.splitlines()
    start = "0.800 (0.082) | 1.500 (0.000) | 1.500 (0.000) | 1.5 | 6,000 | 1.5 | "
    assert lines[2] == f"| a | ensemble | 3 | {start}1.5 | 1.5 | 1.5 | 1.5 |  |"
    assert lines[3] == f"| a | limbeck.distil | 3 | {start}1.5 | 1.5 | 1.5 | 1.5 | 1 |"
