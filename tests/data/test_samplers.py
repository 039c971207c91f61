import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from affectlens.data.samplers import EpochShuffle, InOrder

ROWS = st.integers(1, 200)
BATCH = st.integers(1, 64)


def order(sampler, epoch):
    sampler.set_epoch(epoch)
    return np.concatenate(list(sampler)).tolist()


@settings(deadline=None)
@given(ROWS, BATCH, st.integers(0, 2**31), st.integers(0, 100))
def test_no_row_comes_twice_in_an_epoch_and_all_batches_are_full(rows, batch_size, seed, epoch):
    sampler = EpochShuffle(rows, batch_size, seed)
    sampler.set_epoch(epoch)
    batches = list(sampler)
    seen = np.concatenate(batches)
    assert len(batches) == len(sampler)
    assert {len(batch) for batch in batches} == {min(batch_size, rows)}
    assert len(set(seen.tolist())) == len(seen)
    assert set(seen.tolist()) <= set(range(rows))
    assert rows - len(seen) < min(batch_size, rows)


@settings(deadline=None)
@given(st.integers(0, 2**31), st.integers(0, 100))
def test_order_depends_on_seed_and_epoch_alone(seed, epoch):
    used = EpochShuffle(50, 8, seed)
    order(used, epoch + 1)
    assert order(used, epoch) == order(EpochShuffle(50, 8, seed), epoch)


def test_epochs_and_seeds_differ_in_their_order():
    orders = {tuple(order(EpochShuffle(50, 8, seed), epoch)) for seed in range(5) for epoch in range(5)}
    assert len(orders) == 25


def test_rows_left_out_of_one_epoch_come_in_others():
    sampler = EpochShuffle(10, 8, seed=0)
    assert {row for epoch in range(20) for row in order(sampler, epoch)} == set(range(10))


@settings(deadline=None)
@given(ROWS, BATCH)
def test_in_order_covers_every_row_once(rows, batch_size):
    sampler = InOrder(rows, batch_size)
    batches = list(sampler)
    assert len(batches) == len(sampler)
    assert max(len(batch) for batch in batches) <= batch_size
    assert np.concatenate(batches).tolist() == list(range(rows))
