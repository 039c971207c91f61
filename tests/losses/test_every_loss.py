"""What every loss in the catalogue must do; a new loss adds its naive calculation here.

A loss names what it needs: the parameters of its call are fields of the network's answer (`logits`, `features`,
`affect`, `divisions`, `mask`) and of the truth (`target`, `label`, `affect_target`, `mask_target`).
"""

import inspect
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from affectlens.core import catalog
from affectlens.core.errors import BadData, BadSetting
from affectlens.core.statistics import DatasetStatistics

LABELS = ("neutral", "happiness", "surprise", "sadness")
FEATURES = 5
ANSWERS = ("logits", "features", "affect", "divisions", "mask", "attributes")


def training(seed=0, faces=60):
    """A training set with some unknown labels, valences and arousals."""
    rng = np.random.default_rng(seed)
    targets = rng.choice(len(LABELS), faces, p=[0.5, 0.25, 0.15, 0.1])
    affect = rng.uniform(-1, 1, (faces, 2)).astype(np.float32)
    targets[:3], affect[3:5] = -1, np.nan
    return DatasetStatistics(LABELS, targets, affect, FEATURES)


def batch(seed=0, rows=9, divisions=8):
    """Random answers and truths in double precision; one row without a label, one without valence and arousal."""
    rng = np.random.default_rng(seed)
    target = rng.dirichlet(np.ones(len(LABELS)), rows)
    affect = rng.uniform(-1, 1, (rows, 2))
    affect[1] = np.nan
    label = rng.integers(0, len(LABELS), rows)
    label[2] = -1
    masks = (rng.uniform(size=(rows, 1, 4, 6)) > 0.6).astype(float)
    masks[3] = np.nan
    return {
        "logits": torch.tensor(rng.normal(size=(rows, len(LABELS))) * 2),
        "features": torch.tensor(rng.normal(size=(rows, FEATURES)) * 2),
        "affect": torch.tensor(rng.uniform(-1, 1, (rows, 2))),
        "divisions": torch.tensor(rng.normal(size=(rows, divisions))),
        "target": torch.tensor(target),
        "label": torch.tensor(label),
        "affect_target": torch.tensor(affect),
        "mask": torch.tensor(rng.normal(size=(rows, 1, 2, 3))),
        "mask_target": torch.tensor(masks),
        "attributes": torch.tensor(rng.normal(size=(rows, 3)) * 2),
        "attribute_target": torch.tensor(
            np.where(rng.uniform(size=(rows, 3)) < 0.2, np.nan, rng.integers(0, 2, (rows, 3)))
        ),
    }


def made(name, seed=0, **options):
    """The loss, its centres the same for the same seed; in double precision."""
    torch.manual_seed(seed)
    loss = catalog.load("losses", name).build(training(), **options)
    return loss.double().eval() if isinstance(loss, torch.nn.Module) else loss


def needs(loss):
    parameters = inspect.signature(loss.forward if isinstance(loss, torch.nn.Module) else loss).parameters
    return [name for name, one in parameters.items() if one.default is one.empty]


def call(loss, given):
    return loss(*(given[name] for name in needs(loss)))


# Naive calculations, a number at a time


def softmax(z):
    total = sum(math.exp(value) for value in z)
    return [math.exp(value) / total for value in z]


def square(a, b):
    return sum((x - y) ** 2 for x, y in zip(a, b, strict=True))


def mean(values):
    values = list(values)
    return sum(values) / len(values) if values else 0.0


def labelled(given):
    return [(x, y) for x, y in zip(given["features"].tolist(), given["label"].tolist(), strict=True) if y >= 0]


def described(given, name):
    """Outputs `name` beside the known valence and arousal."""
    rows = zip(given[name].tolist(), given["affect_target"].tolist(), strict=True)
    return [(answer, va) for answer, va in rows if not math.isnan(va[0])]


def counts():
    return [int((training().targets == c).sum()) for c in range(len(LABELS))]


def weights():
    return [min(counts()) / n for n in counts()]


def soft_cross_entropy(given, loss):
    rows = zip(given["logits"].tolist(), given["target"].tolist(), strict=True)
    return mean(-sum(t * math.log(p) for t, p in zip(target, softmax(z), strict=True)) for z, target in rows)


def multi_target(given, loss):
    rows = zip(given["logits"].tolist(), given["target"].tolist(), strict=True)
    return mean(-math.log(max(p for p, t in zip(softmax(z), target, strict=True) if t > 0)) for z, target in rows)


def weighted_cross_entropy(given, loss):
    total = weight = 0.0
    for z, target in zip(given["logits"].tolist(), given["target"].tolist(), strict=True):
        for w, t, p in zip(weights(), target, softmax(z), strict=True):
            total -= w * t * math.log(p)
            weight += w * t
    return total / weight


def focal(given, loss, gamma=2, alpha=None):
    total = weight = 0.0
    for z, target in zip(given["logits"].tolist(), given["target"].tolist(), strict=True):
        for w, t, p in zip(alpha or weights(), target, softmax(z), strict=True):
            total -= w * t * (1 - p) ** gamma * math.log(p)
            weight += w * t
    return total / weight


def small_loss(given, loss, left_out=0, by_class=None):
    """Without the rows whose loss exceeds the entropy of their target most."""
    rows = []
    for z, target in zip(given["logits"].tolist(), given["target"].tolist(), strict=True):
        excess = sum(t * math.log(t / p) for t, p in zip(target, softmax(z), strict=True))
        rows.append((excess, z, target))
    total = weight = 0.0
    for _, z, target in sorted(rows)[: len(rows) - left_out]:
        for w, t, p in zip(by_class or [1] * len(LABELS), target, softmax(z), strict=True):
            total -= w * t * math.log(p)
            weight += w * t
    return total / weight


def bins(va, number):
    """Class shares of the training faces in the square of `va`, or None."""
    statistics, found = training(), [0] * len(LABELS)

    def cell(x):
        return min(int((x + 1) / 2 * number), number - 1)

    for target, other in zip(statistics.targets.tolist(), statistics.affect.astype(float).tolist(), strict=True):
        if target >= 0 and not math.isnan(other[0]) and [cell(x) for x in other] == [cell(x) for x in va]:
            found[target] += 1
    return [n / sum(found) for n in found] if any(found) else None


def va_soft(given, loss):
    rows = [(softmax(z), bins(va, 5)) for z, va in described(given, "logits")]
    return mean(-sum(share * math.log(q) for share, q in zip(s, p, strict=True)) for p, s in rows if s)


def va_logit(given, loss):
    rows = [(softmax(z), bins(va, 10)) for z, va in described(given, "logits")]
    return mean(square(p, s) / 2 for p, s in rows if s)


def center(given, loss):
    return mean(square(x, loss.centres.points[y].tolist()) / 2 for x, y in labelled(given))


def own_mean(given, y):
    """Mean feature of a class among the rows that have a label."""
    members = [x for x, other in labelled(given) if other == y]
    return [mean(column) for column in zip(*members, strict=True)]


def center_local(given, loss):
    return mean(square(x, own_mean(given, y)) / 2 for x, y in labelled(given))


def ordered_pairs(points):
    return [(a, b) for i, a in enumerate(points) for j, b in enumerate(points) if i != j]


def cosine(a, b):
    return sum(x * y for x, y in zip(a, b, strict=True)) / math.sqrt(square(a, [0] * len(a)) * square(b, [0] * len(b)))


def island(given, loss):
    return center(given, loss) + sum(cosine(a, b) + 1 for a, b in ordered_pairs(loss.centres.points.tolist()))


def island_euclidean(given, loss, margin=5):
    pairs = ordered_pairs(loss.centres.points.tolist())
    return center(given, loss) + sum(max(margin - math.sqrt(square(a, b)), 0) ** 2 for a, b in pairs)


def local_subclass(given, loss, k=5, weight=0.0, margin=0.5):
    points = loss.centres.points.tolist()
    spread = sum(
        max(math.sqrt(square(a, b)) - margin, 0) ** 2
        for y in range(len(LABELS))
        for a, b in ordered_pairs(points[y * k : y * k + k])
    )
    return mean(min(square(x, c) for c in points[y * k : y * k + k]) / 2 for x, y in labelled(given)) + weight * spread


def contrastive(given, loss, positive=1, negative=1, margin=32):
    rows = labelled(given)
    pairs = [(a, b) for i, a in enumerate(rows) for b in rows[i + 1 :]]
    pull = mean(square(a[0], b[0]) / 2 for a, b in pairs if a[1] == b[1])
    push = mean(max(margin - math.sqrt(square(a[0], b[0])), 0) ** 2 / 2 for a, b in pairs if a[1] != b[1])
    return positive * pull + negative * push


def va_center(given, loss, columns=(0, 1), of_batch=False):
    statistics, widest = training(), 2 * math.sqrt(len(columns))
    rows = [
        (x, y, va)
        for x, y, va in zip(*(given[name].tolist() for name in ("features", "label", "affect_target")), strict=True)
        if y >= 0 and not math.isnan(va[0])
    ]
    total = []
    for x, y, va in rows:
        centre = [mean(column) for column in zip(*(other for other, z, _ in rows if z == y), strict=True)]
        usual = statistics.class_affect[y].astype(float).tolist()
        if of_batch:
            usual = [mean(column) for column in zip(*(own for _, z, own in rows if z == y), strict=True)]
        away = math.sqrt(square([va[c] for c in columns], [usual[c] for c in columns]))
        total.append((widest - away) ** 2 / 4 * square(x, centre) / 2)
    return mean(total)


def va_mse(given, loss):
    return mean(square(answer, va) / 2 for answer, va in described(given, "affect"))


def va_ccc(given, loss):
    rows, agreement = described(given, "affect"), []
    for column in range(2):
        x, y = [answer[column] for answer, _ in rows], [va[column] for _, va in rows]
        covariance = mean((a - mean(x)) * (b - mean(y)) for a, b in zip(x, y, strict=True))
        spread = mean((a - mean(x)) ** 2 for a in x) + mean((b - mean(y)) ** 2 for b in y) + (mean(x) - mean(y)) ** 2
        agreement.append(2 * covariance / spread)
    return 1 - mean(agreement)


def va_signs(given, loss):
    total = []
    for z, va in described(given, "divisions"):
        for logit, value in zip(z, va, strict=True):
            p = 1 / (1 + math.exp(-logit))
            total.append(-math.log(p if value > 0 else 1 - p))
    return mean(total)


def va_signs_by_squares(given, loss):
    signs = [
        ([1 / (1 + math.exp(-x)) for x in z], [float(v > 0) for v in va]) for z, va in described(given, "divisions")
    ]
    return mean(square(p, truth) / 2 for p, truth in signs)


def sector(va, number):
    return int((math.atan2(va[1], va[0]) % (2 * math.pi)) / (2 * math.pi / number))


def va_divisions(given, loss, n=8, weighted=True, gamma=0):
    seen = [sector(va, n) for va in training().affect.astype(float).tolist() if not math.isnan(va[0])]
    least = min(seen.count(number) for number in set(seen))
    total = weight = 0.0
    for z, va in described(given, "divisions"):
        w, p = least / seen.count(sector(va, n)) if weighted else 1, softmax(z)[sector(va, n)]
        total -= w * (1 - p) ** gamma * math.log(p)
        weight += w
    return total / weight


def mask_bce(given, loss):
    def of(logits, truth):
        total = 0.0
        for y in range(2):
            for x in range(3):
                share = mean(truth[2 * y + i][2 * x + j] for i in range(2) for j in range(2))
                p = 1 / (1 + math.exp(-logits[y][x]))
                total -= share * math.log(p) + (1 - share) * math.log(1 - p)
        return total / 6

    pairs = zip(given["mask"].tolist(), given["mask_target"].tolist(), strict=True)
    return mean(of(logits[0], truth[0]) for logits, truth in pairs if not math.isnan(truth[0][0][0]))


def attribute_bce(given, loss):
    found = []
    for z, truth in zip(given["attributes"].tolist(), given["attribute_target"].tolist(), strict=True):
        for logit, sign in zip(z, truth, strict=True):
            if not math.isnan(sign):
                p = 1 / (1 + math.exp(-logit))
                found.append(-math.log(p if sign else 1 - p))
    return mean(found)


def test_attributes_of_another_number_are_refused():
    loss = catalog.build("losses", "attribute_bce", None, options={})
    with pytest.raises(BadData, match="'attribute_bce' needs 40 attributes per face, but the data have 0"):
        loss(torch.zeros(2, 40), torch.zeros(2, 0))


NAIVE = {
    function.__name__: function
    for function in (
        *(soft_cross_entropy, multi_target, weighted_cross_entropy, focal, va_soft, va_logit, center, center_local),
        *(island, island_euclidean, local_subclass, contrastive, va_center, va_mse, va_ccc, va_signs, va_divisions),
        *(mask_bce, attribute_bce, small_loss),
    )
}
DIVISIONS = {"va_signs": 2}
LOSSES = pytest.mark.parametrize("name", catalog.available("losses"))


def given_for(name, **options):
    return batch(divisions=DIVISIONS.get(name, 8), **options)


@LOSSES
@pytest.mark.parametrize("seed", range(3))
def test_loss_matches_a_naive_calculation(name, seed):
    assert name in NAIVE, f"add a row to NAIVE in {Path(__file__).name} for '{name}'"
    loss, given = made(name, seed), given_for(name, seed=seed)
    found = call(loss, given)
    assert found.shape == ()
    assert found.item() == pytest.approx(NAIVE[name](given, loss), rel=1e-6)


VARIANTS = [
    ("focal", {"gamma": 0.0}, weighted_cross_entropy, 8),
    ("focal", {"weighted": False}, lambda *both: focal(*both, alpha=[1] * len(LABELS)), 8),
    ("small_loss", {"share": 0.4, "warmup": 0.0}, lambda *both: small_loss(*both, left_out=3), 8),
    (
        "small_loss",
        {"share": 0.5, "warmup": 0.0, "weighted": True},
        lambda *both: small_loss(*both, left_out=4, by_class=weights()),
        8,
    ),
    ("center", {"reduction": "sum"}, lambda given, loss: center(given, loss) * len(labelled(given)), 8),
    ("island_euclidean", {"margin": 2.0}, lambda *both: island_euclidean(*both, margin=2), 8),
    *(
        (
            "local_subclass",
            {"subclasses": k, "weight": 0.4, "margin": 0.5},
            lambda *both, k=k: local_subclass(*both, k=k, weight=0.4),
            8,
        )
        for k in (2, 3)
    ),
    ("contrastive", {"negative": 0.0}, lambda *both: contrastive(*both, negative=0), 8),
    ("contrastive", {"positive": 0.0, "margin": 6.0}, lambda *both: contrastive(*both, positive=0, margin=6), 8),
    ("va_center", {"dimensions": "valence"}, lambda *both: va_center(*both, columns=(0,)), 8),
    ("va_center", {"means": "batch"}, lambda *both: va_center(*both, of_batch=True), 8),
    ("va_center", {"dimensions": "arousal"}, lambda *both: va_center(*both, columns=(1,)), 8),
    ("va_signs", {"by": "mse"}, va_signs_by_squares, 2),
    ("va_divisions", {}, lambda *both: va_divisions(*both, n=4), 4),
    ("va_divisions", {}, lambda *both: va_divisions(*both, n=12), 12),
    ("va_divisions", {"weighted": False}, lambda *both: va_divisions(*both, weighted=False), 8),
    ("va_divisions", {"gamma": 2.0}, lambda *both: va_divisions(*both, gamma=2), 8),
]
"""Options of losses that recipes or people set -> naive calculation, and the width of `divisions`."""


@pytest.mark.parametrize(("name", "options", "naive", "divisions"), VARIANTS)
def test_options_match_a_naive_calculation_and_finite_differences(name, options, naive, divisions):
    loss, given = made(name, **options), batch(divisions=divisions)
    assert call(loss, given).item() == pytest.approx(naive(given, loss), rel=1e-6)
    names = [answer for answer in needs(loss) if answer in ANSWERS]

    def of(*tensors):
        return call(loss, given | dict(zip(names, tensors, strict=True)))

    assert torch.autograd.gradcheck(of, [given[answer].requires_grad_() for answer in names])


@pytest.mark.parametrize("name", [name for name in NAIVE if name.startswith("va_")])
def test_a_training_set_without_valence_and_arousal_is_refused(name):
    statistics = training()
    without = DatasetStatistics(LABELS, statistics.targets, np.full_like(statistics.affect, np.nan), FEATURES)
    with pytest.raises(BadSetting, match=r"needs? training faces"):
        catalog.load("losses", name).build(without)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("soft_cross_entropy", {"temperature": 0.0}, "temperature must be > 0, got 0"),
        ("focal", {"gamma": -1.0}, "gamma must be >= 0, got -1"),
        ("va_divisions", {"gamma": -1.0}, "gamma must be >= 0, got -1"),
        ("small_loss", {"share": 1.0}, r"share must be in \[0, 1\), got 1"),
        ("small_loss", {"warmup": -1.0}, "warmup must be >= 0, got -1"),
        ("va_soft", {"bins": 0}, "bins must be at least 1, got 0"),
        ("va_signs", {"by": "hinge"}, "by must be 'bce' or 'mse', got 'hinge'"),
        ("va_center", {"means": "none"}, "means must be training or batch, got 'none'"),
        ("va_center", {"dimensions": "dominance"}, "dimensions must be one of .*, got 'dominance'"),
        ("local_subclass", {"subclasses": 0}, "subclasses must be at least 1, got 0"),
        ("center", {"reduction": "median"}, "reduction must be mean or sum, got 'median'"),
    ],
)
def test_options_that_there_are_not(name, options, message):
    with pytest.raises(BadSetting, match=message):
        call(made(name, **options), given_for(name))


def test_weights_by_class_need_a_label():
    statistics = training()
    without = DatasetStatistics(LABELS, np.full_like(statistics.targets, -1), statistics.affect, FEATURES)
    with pytest.raises(BadSetting, match=r"needs? training faces with a label"):
        catalog.load("losses", "weighted_cross_entropy").build(without)


@LOSSES
def test_gradient_matches_finite_differences(name):
    loss, given = made(name), given_for(name)
    names = [answer for answer in needs(loss) if answer in ANSWERS]
    assert names

    def of(*tensors):
        return call(loss, given | dict(zip(names, tensors, strict=True)))

    assert torch.autograd.gradcheck(of, [given[answer].requires_grad_() for answer in names])


@LOSSES
def test_a_batch_about_which_nothing_is_known_gives_no_gradient(name):
    loss, given = made(name), given_for(name)
    if "target" in needs(loss):
        pytest.skip("a distribution over the classes is always known in training")
    given |= {"label": torch.full_like(given["label"], -1), "affect_target": given["affect_target"] * math.nan}
    given |= {name: given[name] * math.nan for name in ("mask_target", "attribute_target")}
    for answer in ANSWERS:
        given[answer].requires_grad_()
    found = call(loss, given)
    assert found.isfinite()
    if found.requires_grad:
        found.backward()
        for answer in needs(loss):
            gradient = given[answer].grad
            assert gradient is None or not gradient.any()


@LOSSES
def test_logits_of_any_size_give_a_finite_loss_and_gradient(name):
    loss, given = made(name), given_for(name)
    given |= {answer: (given[answer] * 200).detach().requires_grad_() for answer in ("logits", "divisions")}
    for answer in ("features", "affect", "mask", "attributes"):
        given[answer].requires_grad_()
    found = call(loss, given)
    found.backward()
    assert found.isfinite()
    for answer in needs(loss):
        gradient = given[answer].grad
        assert gradient is None or gradient.isfinite().all()


def test_the_weights_of_sectors_are_computed_once_and_may_be_computed_in_inference_mode(monkeypatch):
    counted = []
    monkeypatch.setattr("affectlens.losses.va_divisions.rarity", lambda counts: counted.append(1) or counts.float())
    loss, given = made("va_divisions"), batch(divisions=8)
    given = {name: given[name] for name in ("divisions", "affect_target")}
    given["divisions"].requires_grad_()
    with torch.inference_mode():
        loss(**given)
    loss(**given).backward()
    loss(given["divisions"][:, :4], given["affect_target"])
    assert len(counted) == 2
    assert given["divisions"].grad.isfinite().all()
