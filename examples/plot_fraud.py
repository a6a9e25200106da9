"""
Fraud in card payments
======================

A table with very few positives: many teachers, one student of 25 kB, and a threshold whose false-alarm rate is
promised. Takes about half a minute.
"""

# %%
# The data
# --------
# Generated payments with numbers, booleans, categories and gaps. A real table would be a path:
# ``limbeck.fit("tx.parquet", label="fraud")``.
import limbeck
from limbeck import metrics
from limbeck.data.transactions import transactions

train, test = transactions(6000, seed=0), transactions(6000, seed=1)
print(train.head(3))

# %%
# Learn
# -----
# Fewer teachers and steps than the defaults, to be quick.
config = {
    "resamplers": ["none", "ros", "rus"],
    "folds": 3,
    "trees": 100,
    "steps": 1500,
    "refit_below": 0,
    "measurements": 1,
}
detector = limbeck.fit(train, label="fraud", config=config, alpha=0.01)

for row in detector.artefact.training["candidates"]:
    print(f"{row['name']:16} average precision {row['average_precision']:.3f}   ECE {row['ece']:.4f}")

# %%
# Judge
# -----
# One row or many; by name, in any order.
one = detector.detect(test.row(0, named=True))
print(f"score {one.score[0]:.2f}, p-value {one.p_value[0]:.3f}, probability {one.probability[0]:.4f}")

verdicts = detector.detect(test)
label = test["fraud"].to_numpy()
print(f"average precision {metrics.average_precision(label, verdicts.score):.3f}")
print(f"false alarms {verdicts.is_anomaly[label == 0].mean():.2%}, promised {detector.alpha:.2%}")

# %%
# A stricter promise needs no new fit.
strict = detector.with_alpha(0.002).detect(test)
print(f"{strict.is_anomaly.sum()} alarms instead of {verdicts.is_anomaly.sum()}")
