"""Rows that try to break arithmetic."""

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

awkward = st.one_of(
    st.floats(-10, 10),
    st.floats(-1e12, 1e12),
    st.floats(1e9 - 10, 1e9 + 10),
    st.sampled_from([0.0, -0.0, 1e-300, 1e300, -1e300, np.nan, 1e9 + 1e-6]),
)


def rows(width: int, most: int = 12):
    """Draw float64 (n, width)."""
    return st.integers(1, most).flatmap(lambda n: arrays(np.float64, (n, width), elements=awkward))
