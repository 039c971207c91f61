from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from affectlens.core.errors import BadData, BadSetting
from affectlens.data.samplers import (
    AGE_EDGES,
    SAMPLERS,
    EpochBatches,
    InOrder,
    age_group,
    at_most,
    balanced,
    in_turns,
    inverse_frequency,
)
from affectlens.data.table import FaceTable

ROWS = st.integers(1, 200)
BATCH = st.integers(1, 64)
EVERY_SAMPLER = pytest.mark.parametrize("name", sorted(SAMPLERS))
CLASSES = 3


def faces(classes, ages=None):
    """A table with these classes (numbers), blank images and, if given, ages."""
    targets = np.asarray(classes, dtype=np.int64)
    votes = np.eye(CLASSES, dtype=np.float32)[targets]
    ids = tuple(str(row) for row in range(len(targets)))
    table = FaceTable(ids, np.zeros((len(ids), 2, 2), dtype=np.uint8), votes, targets, tuple("abc"))
    return table if ages is None else replace(table, age_years=np.asarray(ages, dtype=np.float32))


UNEVEN = faces([0] * 40 + [1] * 12 + [2] * 5, ages=[5] * 20 + [25] * 30 + [33] * 4 + [90] * 3)


def picks(sampler, epoch=0):
    sampler.set_epoch(epoch)
    return np.concatenate(list(sampler))


def order(sampler, epoch):
    return picks(sampler, epoch)[:, 0].tolist()


@settings(deadline=None)
@given(ROWS, BATCH, st.integers(0, 2**31), st.integers(0, 100))
def test_no_row_comes_twice_in_a_shuffled_epoch_and_all_batches_are_full(rows, batch_size, seed, epoch):
    sampler = EpochBatches(faces([0] * rows), "shuffle", batch_size, seed)
    sampler.set_epoch(epoch)
    batches = list(sampler)
    seen = np.concatenate(batches)[:, 0]
    assert len(batches) == len(sampler)
    assert {batch.shape for batch in batches} == {(min(batch_size, rows), 2)}
    assert len(set(seen.tolist())) == len(seen)
    assert set(seen.tolist()) <= set(range(rows))
    assert rows - len(seen) < min(batch_size, rows)


@EVERY_SAMPLER
@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 2**31), epoch=st.integers(0, 100))
def test_order_depends_on_table_seed_and_epoch_alone(name, seed, epoch):
    used = EpochBatches(UNEVEN, name, 8, seed)
    picks(used, epoch + 1)
    np.random.seed(1)
    first = picks(used, epoch)
    np.random.seed(2)
    np.testing.assert_array_equal(first, picks(EpochBatches(UNEVEN, name, 8, seed), epoch))


@EVERY_SAMPLER
def test_epochs_and_seeds_differ_in_their_order(name):
    orders = {tuple(order(EpochBatches(UNEVEN, name, 8, seed), epoch)) for seed in range(5) for epoch in range(5)}
    assert len(orders) == 25


def test_turns_go_round_the_classes_wherever_they_stand_in_the_table():
    order = in_turns(faces([2] * 1500 + [0, 1, 0]))
    assert order[:5].tolist() == [0, 1500, 1501, 1, 1502]
    assert sorted(order.tolist()) == list(range(1503))


def test_balanced_keeps_as_many_of_each_class_as_the_smallest_has_by_the_seed():
    table = faces([0] * 9 + [1] * 4 + [2] * 6)
    kept = balanced(table, seed=1)
    assert np.bincount(table.targets[kept]).tolist() == [4, 4, 4]
    np.testing.assert_array_equal(kept, balanced(table, seed=1))
    assert any((balanced(table, seed=seed) != kept).any() for seed in range(2, 6))


def test_a_class_has_at_most_so_many_faces_by_the_seed():
    table = faces([0] * 9 + [1] * 4 + [2] * 6)
    kept = at_most(table, 5, seed=1)
    assert np.bincount(table.targets[kept]).tolist() == [5, 4, 5]
    np.testing.assert_array_equal(kept, at_most(table, 5, seed=1))
    assert any((at_most(table, 5, seed=seed) != kept).any() for seed in range(2, 6))


def test_rows_left_out_of_one_epoch_come_in_others():
    sampler = EpochBatches(faces([0] * 10), "shuffle", 8, seed=0)
    assert {row for epoch in range(20) for row in order(sampler, epoch)} == set(range(10))


@EVERY_SAMPLER
@settings(deadline=None, max_examples=25)
@given(batch_size=BATCH, epoch=st.integers(0, 5))
def test_copies_count_how_often_a_row_came_before(name, batch_size, epoch):
    before = {}
    for row, copy in picks(EpochBatches(UNEVEN, name, batch_size, seed=1), epoch).tolist():
        assert copy == before.get(row, 0)
        before[row] = copy + 1
    assert max(before.values()) > 1 or name == "shuffle"


@EVERY_SAMPLER
@pytest.mark.parametrize("ranks", [2, 4, 8])
def test_ranks_take_shares_that_make_up_each_batch(name, ranks):
    def batches(rank=0, ranks=1):
        sampler = EpochBatches(UNEVEN, name, 8, 5, rank, ranks)
        sampler.set_epoch(3)
        assert len(sampler) == len(EpochBatches(UNEVEN, name, 8, 5))
        return list(sampler)

    shares = [batches(rank, ranks) for rank in range(ranks)]
    for whole, *parts in zip(batches(), *shares, strict=True):
        assert {len(part) for part in parts} == {8 // ranks}
        assert sorted(np.concatenate(parts).tolist()) == sorted(whole.tolist())


def test_batches_that_cannot_be_shared_evenly_are_refused():
    with pytest.raises(BadSetting, match="a batch_size of 8 cannot be divided evenly between 3 processes"):
        EpochBatches(UNEVEN, "shuffle", 8, 5, rank=0, ranks=3)


def drawn_frequency(name, epochs=300):
    """(N,) how often each face comes per epoch on average."""
    sampler = EpochBatches(UNEVEN, name, 1, seed=0)
    rows = np.concatenate([order(sampler, epoch) for epoch in range(epochs)])
    return np.bincount(rows, minlength=len(UNEVEN)) / epochs


@pytest.mark.parametrize(("name", "groups"), [("expression", UNEVEN.targets), ("age", age_group(UNEVEN.age_years))])
def test_draws_balance_their_groups_by_the_inverse_of_their_frequency(name, groups):
    names, sizes = np.unique(groups, return_counts=True)
    size = sizes[np.searchsorted(names, groups)]
    expected = len(UNEVEN) / (len(names) * size)
    got = drawn_frequency(name)
    # a face comes about `expected` times an epoch, with the spread of a Poisson variable over 300 epochs
    assert (np.abs(got - expected) < 5 * np.sqrt(expected / 300)).all()
    for group in names:
        assert got[groups == group].sum() == pytest.approx(len(UNEVEN) / len(names), rel=0.05)


def test_inverse_frequency_gives_every_group_the_same_weight_in_all():
    groups = np.array([0, 0, 0, 2, 2, 5])
    np.testing.assert_allclose(inverse_frequency(groups), [1 / 9, 1 / 9, 1 / 9, 1 / 6, 1 / 6, 1 / 3])


@pytest.mark.parametrize("epoch", range(3))
def test_augment_shows_every_face_and_makes_the_classes_equal(epoch):
    rows, copies = picks(EpochBatches(UNEVEN, "augment", 1, seed=0), epoch).T
    assert np.bincount(UNEVEN.targets[rows]).tolist() == [40, 40, 40]
    assert sorted(rows[copies == 0].tolist()) == list(range(len(UNEVEN)))
    times = np.bincount(rows)
    for group in range(CLASSES):
        counts = times[UNEVEN.targets == group]
        assert counts.max() - counts.min() <= 1


def test_a_face_without_majority_counts_for_its_most_frequent_vote():
    table = faces([0, 0, 0, 0, 1, 1])
    votes = table.votes.copy()
    votes[5] = (0.1, 0.4, 0.5)
    undecided = replace(table, votes=votes, targets=np.array([0, 0, 0, 0, 1, -1]))
    rows = order(EpochBatches(undecided, "augment", 1, seed=0), 0)
    assert np.bincount(rows).tolist() == [1, 1, 1, 1, 4, 4]


def test_a_class_without_faces_is_no_class():
    rows = order(EpochBatches(faces([0, 0, 2]), "augment", 1, seed=0), 0)
    assert np.bincount(rows).tolist() == [1, 1, 2]
    assert set(order(EpochBatches(faces([0, 0, 2]), "expression", 1, seed=0), 0)) <= {0, 1, 2}


def test_age_groups_begin_at_their_edges_and_unknown_ages_are_one():
    ages = np.array([0, 9.9, *AGE_EDGES, 120, np.nan])
    last = len(AGE_EDGES)
    assert age_group(ages).tolist() == [0, 0, *range(1, last + 1), last, last + 1]


def test_faces_of_unknown_age_come_as_often_as_those_of_an_age_group():
    table = faces([0] * 60, ages=[np.nan] * 50 + [20] * 10)
    rows = np.concatenate([order(EpochBatches(table, "age", 1, seed), 0) for seed in range(100)])
    assert np.mean(rows < 50) == pytest.approx(0.5, abs=0.03)


def test_without_ages_there_are_no_age_groups_to_balance():
    with pytest.raises(BadData, match="'age' needs a column age_years") as error:
        EpochBatches(faces([0, 1, 2]), "age", 2, seed=0)
    assert "\n" not in str(error.value)


@settings(deadline=None)
@given(ROWS, BATCH)
def test_in_order_covers_every_row_once(rows, batch_size):
    sampler = InOrder(rows, batch_size)
    batches = list(sampler)
    assert len(batches) == len(sampler)
    assert max(len(batch) for batch in batches) <= batch_size
    everything = np.concatenate(batches)
    assert everything[:, 0].tolist() == list(range(rows))
    assert not everything[:, 1].any()
