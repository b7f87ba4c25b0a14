import dataclasses
import json
import threading

import keras
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

from vae_lib.config import TrainConfig
from vae_lib.training import trainer
from vae_lib.training.checkpoint import Checkpoint
from vae_lib.training.run import Run, load_run
from vae_lib.training.trainer import train
from vae_lib.utils.errors import DivergenceError, InputError
from vae_lib.utils.signals import StopRequest

TINY = TrainConfig(
    dataset="digits", latent_dim=2, epochs=3, batch_size=256, width=4, dense_units=16, learning_rate=1e-2
)


@pytest.fixture(scope="module")
def finished(tmp_path_factory, digits):
    return train(TINY, digits, models_dir=tmp_path_factory.mktemp("models"), verbose=0)


def test_a_run_leaves_what_the_design_says(finished, digits):
    assert {path.name for path in finished.directory.iterdir()} - {"run.lock"} == {
        "config.json",
        "history.csv",
        "metrics.json",
        "model.keras",
        "record.json",
    }
    assert finished.config == TINY and finished.name == TINY.run_name(digits.fingerprint())
    assert finished.data["source"] == digits.source and finished.data["n_train"] == len(digits.x_train)
    assert list(finished.history.columns) == [
        *("epoch", "loss", "distortion", "rate", "val_loss", "val_distortion", "val_rate"),
        *("learning_rate", "beta"),
    ]
    assert list(finished.history["epoch"]) == [1, 2, 3]
    assert finished.record["threads"] and finished.record["seconds"] > 0


def test_training_helps_and_the_scores_are_of_held_out_images(finished, digits):
    history, metrics = finished.history, finished.metrics
    assert history["loss"].iloc[-1] < history["loss"].iloc[0]
    assert metrics["n_test"] == len(digits.x_test) and metrics["n_val"] == len(digits.x_val)
    assert metrics["elbo_test"] == pytest.approx(-metrics["distortion_test"] - metrics["rate_test"])
    nats = metrics["bits_per_dim_test"] * 64 * np.log(2)
    assert nats == pytest.approx(-metrics["elbo_test"])


def test_the_loaded_model_gives_the_scores_again(finished, digits):
    from vae_lib.training.scores import evaluate

    scores = evaluate(load_run(finished.directory).model(), digits.x_test)
    assert {f"{name}_test": value for name, value in scores.items()}.items() <= finished.metrics.items()


def test_a_finished_run_is_not_trained_twice(finished, digits):
    before = (finished.directory / "model.keras").stat().st_mtime_ns
    again = train(TINY, digits, models_dir=finished.directory.parent, verbose=0)
    assert again.metrics == finished.metrics
    assert (finished.directory / "model.keras").stat().st_mtime_ns == before


def assert_same_run(one: Run, other: Run):
    pd.testing.assert_frame_equal(one.history, other.history, check_exact=True)
    assert one.metrics == other.metrics
    for mine, theirs in zip(one.model().weights, other.model().weights, strict=True):
        np.testing.assert_array_equal(mine, theirs)


def test_the_same_seed_gives_the_same_bits_and_another_seed_others(finished, digits, tmp_path):
    assert_same_run(finished, train(TINY, digits, models_dir=tmp_path, verbose=0))
    other = train(dataclasses.replace(TINY, seed=1), digits, models_dir=tmp_path, verbose=0)
    assert other.metrics["elbo_test"] != finished.metrics["elbo_test"]


def test_the_best_weights_on_validation_are_kept_and_not_the_last(digits, tmp_path):
    # A schedule that overshoots: the best epoch is not the last one.
    config = dataclasses.replace(TINY, epochs=12, learning_rate=0.05, n_train=300, batch_size=64, width=8)
    run = train(config, digits, models_dir=tmp_path, verbose=0)
    best = run.history["val_loss"].idxmin()
    assert run.metrics["best_epoch"] == best + 1
    assert run.metrics["elbo_val"] == pytest.approx(-run.history["val_loss"][best], rel=0.02)


def test_n_train_takes_the_first_images_only(digits, tmp_path):
    run = train(dataclasses.replace(TINY, epochs=1, n_train=300), digits, models_dir=tmp_path, verbose=0)
    assert run.data["n_train"] == 300 and run.data["n_test"] == len(digits.x_test)


@pytest.mark.parametrize("annealing", ["linear", "cyclical"])
def test_annealing_sets_beta_by_the_step_and_validates_at_the_full_one(digits, tmp_path, annealing):
    config = dataclasses.replace(TINY, beta=4.0, epochs=3, annealing=annealing, anneal_epochs=1.5)
    run = train(config, digits, models_dir=tmp_path, verbose=0)
    steps = -(-len(digits.x_train) // 256)
    last = [config.beta_at(steps * (epoch + 1) - 1, steps) for epoch in range(3)]
    np.testing.assert_allclose(run.history["beta"], last, rtol=1e-6)
    history = run.history
    np.testing.assert_allclose(
        history["val_loss"], history["val_distortion"] + 4 * history["val_rate"], rtol=1e-5
    )


def test_a_batch_larger_than_the_data_is_refused_before_anything_is_written(digits, tmp_path):
    with pytest.raises(InputError, match=r"batch_size.*1457.*received 2000"):
        train(dataclasses.replace(TINY, batch_size=2000), digits, models_dir=tmp_path, verbose=0)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"x_val": slice(0), "y_val": slice(0)}, "digits has no validation images"),
        ({"class_names": slice(0)}, "conditional needs names of the classes"),
    ],
)
def test_data_that_training_cannot_use_is_refused_before_anything_is_written(
    digits, tmp_path, changes, words
):
    data = dataclasses.replace(
        digits, pixels_sha256=None, **{name: getattr(digits, name)[rows] for name, rows in changes.items()}
    )
    with pytest.raises(InputError, match=words):
        train(dataclasses.replace(TINY, conditional=True), data, models_dir=tmp_path, verbose=0)
    assert not list(tmp_path.iterdir())


def test_scales_that_the_images_lack_are_refused_before_anything_is_written_or_removed(digits, tmp_path):
    wrong = dataclasses.replace(TINY, epochs=1, network="hierarchical", scale_latents=(4, 4, 4, 4, 4))
    with pytest.raises(
        InputError, match="scale_latents must be one integer for each scale, of 4x4, or fewer; received 5"
    ):
        train(wrong, digits, models_dir=tmp_path, name="mine", verbose=0)
    assert not list(tmp_path.iterdir())
    run = train(dataclasses.replace(TINY, epochs=1), digits, models_dir=tmp_path, name="mine", verbose=0)
    with pytest.raises(
        InputError, match="scale_latents must be one integer for each scale, of 4x4, or fewer; received 5"
    ):
        train(wrong, digits, models_dir=tmp_path, name="mine", fresh=True, verbose=0)
    assert load_run(run.directory).model() is not None


def test_another_config_under_the_same_name_is_refused_with_the_difference(digits, tmp_path, monkeypatch):
    train(dataclasses.replace(TINY, epochs=1), digits, models_dir=tmp_path, name="mine", verbose=0)
    other = dataclasses.replace(TINY, epochs=1, latent_dim=5, beta=2.0)
    with pytest.raises(InputError, match=r"latent_dim: 2 -> 5, beta: 1.0 -> 2.0.*--fresh"):
        train(other, digits, models_dir=tmp_path, name="mine", verbose=0)
    with pytest.raises(InputError, match="data: embedded digits"):
        config = dataclasses.replace(TINY, epochs=1)
        train(config, digits.subset(n_test=50), models_dir=tmp_path, name="mine", verbose=0)
    monkeypatch.setattr(trainer, "RESULTS_VERSION", trainer.RESULTS_VERSION + 1)
    with pytest.raises(InputError, match="results version: "):
        train(dataclasses.replace(TINY, epochs=1), digits, models_dir=tmp_path, name="mine", verbose=0)
    run = train(other, digits, models_dir=tmp_path, name="mine", fresh=True, verbose=0)
    assert run.config == other and run.is_done


def test_a_divergence_names_the_option_at_fault(digits, tmp_path):
    config = dataclasses.replace(TINY, weight_decay=1e9)
    with pytest.raises(DivergenceError, match=r"lower weight_decay \(now 1e\+09\)"):
        train(config, digits, models_dir=tmp_path, verbose=0)


def test_divergence_is_marked_and_its_last_finite_checkpoint_kept(digits, tmp_path):
    config = dataclasses.replace(TINY, learning_rate=1e8, epochs=2, likelihood="bernoulli")
    for _ in range(2):  # the second call finds the mark, and does not train again
        with pytest.raises(DivergenceError, match="lower learning_rate"):
            train(config, digits, models_dir=tmp_path, name="wild", verbose=0)
    metrics = json.loads((tmp_path / "wild" / "metrics.json").read_text())
    assert metrics["status"] == "diverged" and not (tmp_path / "wild" / "model.keras").exists()
    with pytest.raises(InputError, match="diverged"):
        load_run(tmp_path / "wild")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("part", "batch", "epoch", "kept"),
    # Of 6 steps an epoch, the first and the last are read, and steps 4, 6, 8, 12, 16 and 18 are saved.
    [("train", 3, 1, None), ("train", 8, 2, 6), ("train", 10, 2, 8), ("train", 12, 2, 8), ("val", 2, 2, 8)],
)
def test_a_loss_that_is_not_finite_reaches_no_checkpoint_wherever_it_appears(
    digits, tmp_path, monkeypatch, part, batch, epoch, kept
):
    gather, gathered = trainer.TrainingLoop._batch, []

    def gather_with_nan(loop, of, rows):
        images, *labels = gather(loop, of, rows)
        gathered.append(of)
        if of == part and gathered.count(part) == batch:
            images = np.full(images.shape, np.nan, "float32")
        return images, *labels

    monkeypatch.setattr(trainer, "CHECKPOINT_STEPS", 4)
    monkeypatch.setattr(trainer.TrainingLoop, "_batch", gather_with_nan)
    with pytest.raises(DivergenceError, match=f"diverged in epoch {epoch}:"):
        train(TINY, digits, models_dir=tmp_path, name="wild", verbose=0)
    last = Checkpoint.load_latest(tmp_path / "wild" / "checkpoint")
    assert (last and last.step) == kept
    assert last is None or all(np.isfinite(array).all() for array in last.arrays.values())


@pytest.fixture
def computes_asynchronously():
    """Let TensorFlow return from a step before it is computed, as on a GPU."""
    tf.config.experimental.set_synchronous_execution(False)
    yield
    tf.config.experimental.set_synchronous_execution(True)


@pytest.mark.slow
def test_how_often_the_loss_is_read_changes_no_bit(
    finished, digits, tmp_path, monkeypatch, computes_asynchronously
):
    for steps in (1, 50):
        monkeypatch.setattr(trainer, "READ_STEPS", steps)
        run = train(TINY, digits, models_dir=tmp_path / str(steps), verbose=0)
        assert_same_run(finished, run)
        for name in ("history.csv", "metrics.json"):
            assert (run.directory / name).read_bytes() == (finished.directory / name).read_bytes()


def test_the_loop_goes_on_while_the_device_computes(digits, tmp_path, computes_asynchronously):
    events, in_time = threading.Semaphore(0), []
    # Step 1, which is read, ends once batch 2 is gathered; steps 2 to 5 once the loop calls the next one.
    awaited = iter([3, 3, 2, 2, 2, 0])

    class Loop(trainer.TrainingLoop):
        def _batch(self, part, rows):
            events.release()
            return super()._batch(part, rows)

    def wait():
        in_time.append(all(events.acquire(timeout=5) for _ in range(next(awaited))))

    @tf.function
    def slow_step(batch):
        tf.py_function(wait, [], [])
        return loop.vae.train_step(batch)

    def train_step(batch):
        events.release()
        return slow_step(batch)

    loop = Loop(Run(tmp_path), TINY, digits)
    loop.train_step = train_step
    loop._run_epoch(StopRequest())
    assert in_time == [True] * 6


@pytest.mark.parametrize("stop", [3, 5, 6])
def test_the_batch_a_process_begins_with_makes_no_difference(finished, digits, tmp_path, monkeypatch, stop):
    save = Checkpoint.save

    def save_and_stop(checkpoint, folder):
        save(checkpoint, folder)
        if checkpoint.step == stop:  # 5: the process that resumes begins with an epoch's last, short batch
            raise KeyboardInterrupt

    monkeypatch.setattr(trainer, "CHECKPOINT_STEPS", stop)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Checkpoint, "save", save_and_stop)
        train(TINY, digits, models_dir=tmp_path, verbose=0)
    assert_same_run(finished, train(TINY, digits, models_dir=tmp_path, verbose=0))


def watch(seen):
    """Return a callback that notes each call, and the step or epoch it was made for."""
    return keras.callbacks.LambdaCallback(
        on_train_begin=lambda logs: seen.append("begin"),
        on_epoch_begin=lambda epoch, logs: seen.append(f"epoch {epoch}"),
        on_train_batch_begin=lambda step, logs: seen.append(f"step {step}"),
        on_train_batch_end=lambda step, logs: seen.append(f"step {step} done: {', '.join(logs)}"),
        on_epoch_end=lambda epoch, logs: seen.append((epoch, logs)),
        on_train_end=lambda logs: seen.append("end"),
    )


def test_callbacks_are_called_as_fit_calls_them(finished, digits, tmp_path):
    seen, by_fit = [], []
    run = train(TINY, digits, models_dir=tmp_path, verbose=0, callbacks=[watch(seen)])
    vae = run.model()
    vae.compile(keras.optimizers.Adam(1e-3))
    fitting = {"batch_size": TINY.batch_size, "epochs": TINY.epochs, "verbose": 0}
    vae.fit(digits.x_train, validation_data=(digits.x_val,), callbacks=[watch(by_fit)], **fitting)
    assert [call if isinstance(call, str) else call[0] for call in seen] == [
        call if isinstance(call, str) else call[0] for call in by_fit
    ]
    logs = [call[1] for call in seen if isinstance(call, tuple)]
    assert [{name: row[name] for name in logs[0]} for _, row in run.history.iterrows()] == logs
    assert logs[0].keys() == next(call[1].keys() for call in by_fit if isinstance(call, tuple))
    assert_same_run(finished, run)


class Sampler(keras.callbacks.Callback):
    """Uses the model's noise, and its metrics, in the middle of an epoch and at its end."""

    def __init__(self, data):
        super().__init__()
        self.x, self.losses = data.x_val[:20], []

    def on_train_batch_end(self, batch, logs=None):
        self.losses.append(logs["loss"])
        self.model.sample(2, seed=batch)

    def on_epoch_end(self, epoch, logs=None):
        self.model.evaluate(self.x, verbose=0)
        self.model.log_weights(self.x, n_samples=2)


def test_callbacks_that_sample_and_evaluate_change_no_bit(finished, digits, tmp_path):
    sampler = Sampler(digits)
    assert_same_run(finished, train(TINY, digits, models_dir=tmp_path, verbose=0, callbacks=[sampler]))
    assert len(set(sampler.losses)) == len(sampler.losses) == 18  # each step's own


def test_csv_logger_and_early_stopping_of_keras(digits, tmp_path):
    log = keras.callbacks.CSVLogger(tmp_path / "log.csv")
    stop = keras.callbacks.EarlyStopping(monitor="loss", mode="max", patience=1)  # the loss only falls
    run = train(TINY, digits, models_dir=tmp_path / "models", verbose=0, callbacks=[log, stop])
    written = pd.read_csv(tmp_path / "log.csv")
    assert list(written["epoch"]) == [0, 1] and list(run.history["epoch"]) == [1, 2]
    np.testing.assert_allclose(written["val_loss"], run.history["val_loss"])
    assert run.metrics["status"] == "finished" and not (run.directory / "checkpoint").exists()
    assert run.config == TINY and train(TINY, digits, models_dir=tmp_path / "models").metrics == run.metrics


def test_tensorboard_gets_every_epoch(digits, tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    board = keras.callbacks.TensorBoard(tmp_path / "board", write_graph=False)
    run = train(TINY, digits, models_dir=tmp_path / "models", verbose=0, callbacks=[board])
    for part, column in (("train", "loss"), ("validation", "val_loss")):
        events = EventAccumulator(str(tmp_path / "board" / part))
        events.Reload()
        tensors = [tf.make_ndarray(event.tensor_proto) for event in events.Tensors("epoch_loss")]
        np.testing.assert_allclose(tensors, run.history[column], rtol=1e-6)


def fail_at(epoch):
    def fail(now, logs):
        if now == epoch:
            raise RuntimeError("the callback fails")

    return keras.callbacks.LambdaCallback(on_epoch_end=fail)


@pytest.mark.slow
def test_after_a_callback_that_raised_the_run_is_resumed_and_callbacks_get_the_right_epochs(
    finished, digits, tmp_path, monkeypatch
):
    monkeypatch.setattr(trainer, "CHECKPOINT_STEPS", 9)  # so in the middle of the second epoch, of 6 steps
    with pytest.raises(RuntimeError, match="the callback fails"):
        train(TINY, digits, models_dir=tmp_path, verbose=0, callbacks=[fail_at(1)])
    assert [path.name for path in tmp_path.glob("*/checkpoint/*")] != [] and not list(
        tmp_path.glob("*/metrics.json")
    )
    seen = []
    run = train(TINY, digits, models_dir=tmp_path, verbose=0, callbacks=[watch(seen)])
    assert seen[:3] == ["begin", "epoch 1", "step 3"] and seen[-1] == "end"
    assert [call[0] for call in seen if isinstance(call, tuple)] == [1, 2]
    assert_same_run(finished, run)


@pytest.mark.slow
def test_a_hierarchical_run_with_averaged_weights_is_resumed_bit_for_bit(digits, tmp_path, monkeypatch):
    options = {"network": "hierarchical", "width": 2, "ema": 0.9, "n_train": 600}
    config = dataclasses.replace(TINY, **options)
    whole = train(config, digits, models_dir=tmp_path / "whole", verbose=0)
    monkeypatch.setattr(trainer, "CHECKPOINT_STEPS", 4)  # so in the middle of the second epoch, of 3 steps
    with pytest.raises(RuntimeError, match="the callback fails"):
        train(config, digits, models_dir=tmp_path / "parts", verbose=0, callbacks=[fail_at(1)])
    assert_same_run(whole, train(config, digits, models_dir=tmp_path / "parts", verbose=0))
    rates = [name for name in whole.history if name.startswith("val_rate_")]
    assert rates == ["val_rate_1x1", "val_rate_4x4"] and list(whole.history["skipped"]) == [0, 0, 0]
    np.testing.assert_allclose(whole.history[rates].sum(axis=1), whole.history["val_rate"], rtol=1e-5)


@pytest.mark.slow
def test_averaged_weights_are_kept_where_they_validate_better(digits, tmp_path):
    config = dataclasses.replace(TINY, learning_rate=0.05, epochs=4, batch_size=32)
    run, plain = (
        train(dataclasses.replace(config, ema=ema), digits, models_dir=tmp_path, verbose=0)
        for ema in (0.8, 0.0)
    )
    assert run.history["averaged"].any() and "averaged" not in plain.history
    np.testing.assert_array_equal(run.history["loss"], plain.history["loss"])  # training keeps its weights
    assert (run.history["val_loss"] <= plain.history["val_loss"]).all()
    assert run.metrics["elbo_val"] == pytest.approx(-run.history["val_loss"].min(), rel=0.02)


def test_a_run_that_a_callback_stopped_and_a_kill_kept_from_its_results_is_not_trained_further(
    digits, tmp_path, monkeypatch
):
    stop = keras.callbacks.EarlyStopping(monitor="loss", mode="max", patience=1)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(trainer, "evaluate", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        train(TINY, digits, models_dir=tmp_path, verbose=0, callbacks=[stop])
    run = train(TINY, digits, models_dir=tmp_path, verbose=0)
    assert list(run.history["epoch"]) == [1, 2] and run.metrics["status"] == "finished"
