import json
import logging

import numpy as np
import pytest

from vae_lib.training.checkpoint import Checkpoint


def checkpoint(step):
    history = [{"epoch": 1, "loss": 0.1 + step}]
    arrays = {"weights/0": np.full((3, 2), step, dtype="float32"), "best/0": np.arange(4)}
    return Checkpoint(step, {"history": history, "best_loss": None}, arrays)


def assert_equal(one, other):
    assert one.step == other.step and one.state == other.state and one.arrays.keys() == other.arrays.keys()
    for name in one.arrays:
        np.testing.assert_array_equal(one.arrays[name], other.arrays[name])


def test_saved_and_loaded_it_is_the_same_and_the_last_two_are_kept(tmp_path):
    for step in (1, 2, 30):
        checkpoint(step).save(tmp_path)
    assert_equal(Checkpoint.load_latest(tmp_path), checkpoint(30))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step-00000002", "step-00000030"]


def test_without_a_checkpoint_there_is_none(tmp_path):
    assert Checkpoint.load_latest(tmp_path / "nowhere") is None


def truncate(path):
    path.write_bytes(path.read_bytes()[:-7])


def flip_a_bit(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def empty_json(path):
    path.write_text("{}")


@pytest.mark.parametrize("name", ["arrays.npz", "state.json", "manifest.json"])
@pytest.mark.parametrize("damage", [truncate, flip_a_bit, empty_json, lambda path: path.unlink()])
def test_a_damaged_checkpoint_is_skipped_with_a_warning_for_the_one_before(tmp_path, caplog, name, damage):
    checkpoint(1).save(tmp_path)
    checkpoint(2).save(tmp_path)
    damage(tmp_path / "step-00000002" / name)
    with caplog.at_level(logging.WARNING):
        assert_equal(Checkpoint.load_latest(tmp_path), checkpoint(1))
    assert "step-00000002 is damaged" in caplog.text


def test_a_damaged_checkpoint_of_the_same_step_is_replaced(tmp_path):
    checkpoint(2).save(tmp_path)
    truncate(tmp_path / "step-00000002" / "arrays.npz")
    checkpoint(2).save(tmp_path)
    assert_equal(Checkpoint.load_latest(tmp_path), checkpoint(2))


def test_floats_of_the_history_come_back_bit_for_bit(tmp_path, rng):
    values = [float(value) for value in rng.standard_normal(100) * 10.0 ** rng.integers(-300, 300, 100)]
    Checkpoint(1, {"history": values}, {}).save(tmp_path)
    assert Checkpoint.load_latest(tmp_path).state["history"] == values


def test_a_failed_write_leaves_the_earlier_ones(tmp_path):
    checkpoint(1).save(tmp_path)
    with pytest.raises(TypeError):
        Checkpoint(2, {"history": object()}, {}).save(tmp_path)
    assert_equal(Checkpoint.load_latest(tmp_path), checkpoint(1))
    assert [path.name for path in tmp_path.iterdir()] == ["step-00000001"]


def test_the_manifest_is_of_both_files(tmp_path):
    checkpoint(1).save(tmp_path)
    manifest = json.loads((tmp_path / "step-00000001" / "manifest.json").read_text())
    assert manifest.keys() == {"arrays.npz", "state.json"} and all(
        len(sha) == 64 for sha in manifest.values()
    )
