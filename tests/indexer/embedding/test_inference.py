"""How a batch size is chosen and how busy a network is kept."""

import pytest

from vitrine.indexer.embedding.inference import BatchCalibration, Timer, choose_decode_threads


def run(calibration: BatchCalibration, seconds: dict[int, list[float]]) -> None:
    while not calibration.is_done:
        size = calibration.next_size()
        calibration.record(size, seconds[size].pop(0))


def test_the_fastest_size_a_picture_wins_by_its_better_try() -> None:
    calibration = BatchCalibration((8, 16, 32))
    run(calibration, {8: [9.0, 0.8], 16: [9.0, 1.2], 32: [9.0, 3.2]})
    assert calibration.next_size() == calibration.chosen == 16


def test_a_larger_batch_must_be_worth_it() -> None:
    calibration = BatchCalibration((8, 16))
    run(calibration, {8: [0.8, 0.8], 16: [1.59, 1.59]})
    assert calibration.chosen == 8


def test_sizes_that_are_no_candidates_teach_nothing() -> None:
    calibration = BatchCalibration((8, 16))
    calibration.record(3, 0.0001)
    assert calibration.chosen == 8
    assert calibration.largest == 16


def test_one_candidate_needs_no_trial() -> None:
    calibration = BatchCalibration((5,))
    assert calibration.is_done
    assert calibration.next_size() == 5
    with pytest.raises(ValueError, match="no batch size"):
        BatchCalibration(())


@pytest.mark.parametrize(
    ("decode_s", "net_s", "threads"),
    [(0.001, 0.1, 1), (0.01, 0.01, 2), (0.04, 0.01, 6), (1.0, 0.01, 8), (0.01, 0.0, 8)],
)
def test_decoders_keep_up_with_the_net(decode_s: float, net_s: float, threads: int) -> None:
    assert choose_decode_threads(decode_s, net_s, cores=8) == threads


def test_a_timer_without_pictures_says_zero() -> None:
    timer = Timer()
    assert timer.mean_s == 0
    timer.add(2.0, 4)
    assert timer.mean_s == 0.5
