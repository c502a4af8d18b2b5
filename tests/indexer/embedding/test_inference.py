"""Tests of vitrine.indexer.embedding.inference: the choice of batch size and of decoding threads."""

import pytest

from vitrine.indexer.embedding.inference import BatchSizeTuner, Timer, choose_decode_threads


def run_trials(tuner: BatchSizeTuner, durations_s: dict[int, list[float]]) -> None:
    while not tuner.is_done:
        size = tuner.next_size()
        tuner.record(size, durations_s[size].pop(0))


def test_the_size_with_the_lowest_time_per_picture_is_chosen() -> None:
    tuner = BatchSizeTuner((8, 16, 32))
    run_trials(tuner, {8: [9.0, 0.8], 16: [9.0, 1.2], 32: [9.0, 3.2]})
    assert tuner.next_size() == tuner.best_size == 16


def test_a_larger_batch_needs_a_minimum_speedup() -> None:
    tuner = BatchSizeTuner((8, 16))
    run_trials(tuner, {8: [0.8, 0.8], 16: [1.59, 1.59]})
    assert tuner.best_size == 8


def test_sizes_that_are_no_candidates_are_ignored() -> None:
    tuner = BatchSizeTuner((8, 16))
    tuner.record(3, 0.0001)
    assert tuner.best_size == 8
    assert tuner.largest == 16


def test_a_single_candidate_needs_no_trial() -> None:
    tuner = BatchSizeTuner((5,))
    assert tuner.is_done
    assert tuner.next_size() == 5
    with pytest.raises(ValueError, match="no batch size"):
        BatchSizeTuner(())


@pytest.mark.parametrize(
    ("decode_s", "inference_s", "threads"),
    [(0.001, 0.1, 1), (0.01, 0.01, 2), (0.04, 0.01, 6), (1.0, 0.01, 8), (0.01, 0.0, 8)],
)
def test_decoding_is_faster_than_the_network(decode_s: float, inference_s: float, threads: int) -> None:
    assert choose_decode_threads(decode_s, inference_s, cores=8) == threads


def test_the_mean_of_a_timer() -> None:
    timer = Timer()
    assert timer.mean_s == 0
    timer.add(2.0, 4)
    assert timer.mean_s == 0.5
