from dataclasses import replace

import numpy as np
import pytest

from affectlens.core.expressions import FERPLUS
from affectlens.core.probabilities import softmax
from affectlens.evaluation.evaluation import Scores


@pytest.fixture
def texts():
    """Everything written in a figure, after drawing."""
    from matplotlib.text import Text

    def find(figure):
        figure.canvas.draw()
        return [text.get_text() for text in figure.findobj(Text) if text.get_text()]

    return find


@pytest.fixture
def fits_its_page():
    """Asserts that all that is drawn lies within the figure."""

    def check(figure):
        drawn, page = figure.get_tightbbox(), figure.get_size_inches()
        assert min(drawn.x0, drawn.y0) >= 0
        assert drawn.x1 <= page[0]
        assert drawn.y1 <= page[1]

    return check


@pytest.fixture
def scores():
    """A maker of scores of a fair model on faces with every kind of label; the keywords replace fields."""

    def make(faces=200, seed=0, **changes):
        rng = np.random.default_rng(seed)
        votes = rng.multinomial(10, [0.3, 0.25, 0.15, 0.12, 0.1, 0.03, 0.05, 0], faces) / 10
        targets = np.where(votes.max(axis=1) > 0.3, votes.argmax(axis=1), -1)
        valence = rng.uniform(-1, 1, faces)
        whole = Scores(
            FERPLUS,
            softmax(3 * votes + rng.normal(size=votes.shape)),
            targets,
            votes=votes,
            valence_predicted=0.5 * valence + 0.1 * rng.normal(size=faces),
            valence_true=np.where(rng.random(faces) < 0.2, np.nan, valence),
            arousal_predicted=np.zeros(faces),
            arousal_true=np.full(faces, np.nan),
            va_source="projected",
            groups={"age": rng.choice(["", "3-9", "10-19", "more than 70"], faces)},
            uncertain_below=0.4,
        )
        return replace(whole, **changes)

    return make
