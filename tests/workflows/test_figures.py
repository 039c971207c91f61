import pytest

import affectlens


def test_a_figure_from_python_is_matplotlibs(make_ferplus, tmp_path):
    data = make_ferplus(tmp_path / "ferplus")
    figure = affectlens.plot("samples", f"ferplus:{data}", ["bundled"], split="train", faces=2)
    assert sum(bool(axes.images) for axes in figure.axes) == 2


def test_a_figure_that_does_not_exist_is_answered_with_the_nearest():
    with pytest.raises(affectlens.UnknownName, match="did you mean 'samples'"):
        affectlens.plot("sample")
