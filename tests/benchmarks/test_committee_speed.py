"""The made rows of the speed benchmark."""

import committee_speed
import numpy as np


def test_parts_have_other_rows_of_the_same_clusters():
    x, y = committee_speed.table(3000, 0, 0)
    again, unseen = committee_speed.table(3000, 0, 0)[0], committee_speed.table(3000, 0, 1)[0]
    assert (x.shape, y.shape) == ((3000, committee_speed.COLUMNS), (3000,))
    np.testing.assert_array_equal(x, again)
    assert not np.isin(x[:, 0], unseen[:, 0]).any()
    np.testing.assert_allclose(x.mean(0), unseen.mean(0), atol=0.5)
    assert abs(x.mean(0) - committee_speed.table(3000, 1, 0)[0].mean(0)).max() > 2.0  # other clusters


def test_a_hundredth_is_anomalous_and_columns_are_correlated():
    x, y = committee_speed.table(5000, 0, 0)
    assert 0.005 < y.mean() < 0.015
    rng = np.random.default_rng(0)
    centres = rng.normal(scale=4.0, size=(committee_speed.CLUSTERS, committee_speed.COLUMNS))
    far = np.linalg.norm(x[:, None] - centres, axis=2)
    assert np.median(far.min(1)[y == 1]) > 2 * np.median(far.min(1)[y == 0])
    inside = np.corrcoef(x[(y == 0) & (far.argmin(1) == 0)].T)
    assert np.abs(inside - np.eye(len(inside))).max() > 0.3
