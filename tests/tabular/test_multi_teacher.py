"""The estimator keeps scikit-learn's contract; the method keeps its own."""

import numpy as np
import pytest
from sklearn.metrics import average_precision_score
from sklearn.utils.estimator_checks import parametrize_with_checks

from limbeck.tabular.config import MultiTeacherConfig
from limbeck.tabular.multi_teacher import MultiTeacherClassifier, distil

QUICK = MultiTeacherConfig(resamplers=("none",), folds=2, trees=20, steps=250, batch=64, refit=False)


@pytest.mark.filterwarnings("ignore::limbeck.errors.LimbeckWarning")  # some checks learn from random labels
@parametrize_with_checks([MultiTeacherClassifier(QUICK)])
def test_scikit_learn(estimator, check):
    check(estimator)
