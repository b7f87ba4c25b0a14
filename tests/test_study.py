import pandas as pd

from vae_lib.config import TrainConfig
from vae_lib.study import grid, run_study

BASE = TrainConfig(dataset="digits", latent_dim=2, epochs=1, batch_size=256, width=4, dense_units=16)


def test_grid_is_every_combination_and_keeps_the_rest():
    configs = grid(BASE, latent_dim=(2, 8), seed=range(3))
    assert [(config.latent_dim, config.seed) for config in configs] == [
        (d, s) for d in (2, 8) for s in range(3)
    ]
    assert all(config.epochs == 1 and config.dataset == "digits" for config in configs)


def test_a_study_is_resumed_a_failed_cell_does_not_stop_it_and_workers_make_no_difference(tmp_path):
    wild = TrainConfig.from_dict(
        {**BASE.to_dict(), "learning_rate": 1e8, "likelihood": "bernoulli", "epochs": 2}
    )
    configs = [*grid(BASE, latent_dim=(2, 3)), wild]
    first = run_study(configs, n_jobs=1, models_dir=tmp_path / "one")
    assert list(first["status"]) == ["finished", "finished", "diverged"]
    assert list(first["latent_dim"]) == [2, 3, 2] and set(first["source"]) == {
        "embedded digits (scikit-learn)"
    }
    times = {path: path.stat().st_mtime_ns for path in (tmp_path / "one").glob("*/metrics.json")}
    again = run_study(configs, n_jobs=1, models_dir=tmp_path / "one")
    pd.testing.assert_frame_equal(first, again)
    assert times == {path: path.stat().st_mtime_ns for path in times} and len(times) == 3
    side_by_side = run_study(configs, n_jobs=2, models_dir=tmp_path / "two")
    scores = [column for column in first if column.startswith(("test_", "val_", "run", "status"))]
    one_thread = run_study(configs[:2], n_jobs=2, models_dir=tmp_path / "three")
    # the diverged row has no scores, so counts are floats beside it
    pd.testing.assert_frame_equal(side_by_side[scores][:2], one_thread[scores], check_dtype=False)
