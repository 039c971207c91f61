from pathlib import Path

import numpy as np
import pytest

from affectlens.core.errors import BadData
from affectlens.core.sample import Sample


def sample(votes):
    return Sample("train/a.png", Path("a.png"), "train", votes=votes)


def test_votes_that_sum_to_one_are_kept():
    votes = np.array([0.25, 0.75], dtype=np.float32)
    assert sample(votes).votes is votes


def test_votes_may_be_missing():
    assert sample(None).votes is None


@pytest.mark.parametrize("votes", [[0.5, 0.4], [2.0, 1.0], [0.0, 0.0], [np.nan, 1.0]])
def test_votes_that_do_not_sum_to_one_are_refused(votes):
    with pytest.raises(BadData, match=r"votes of sample 'train/a.png' must be >= 0 and sum to 1, got a sum of"):
        sample(np.array(votes, dtype=np.float32))
