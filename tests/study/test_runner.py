import dataclasses
import shutil

import pandas as pd
import pytest

from vae_lib.config import STUDIES, EvaluationConfig, TrainConfig
from vae_lib.study.grids import STUDY_EVALUATION, all_configs, grid, preset_comparisons, shard
from vae_lib.study.results import by_run, read_results
from vae_lib.study.runner import StudyPaths, estimate, run_study
from vae_lib.utils.errors import InputError

BASE = TrainConfig(dataset="digits", latent_dim=2, epochs=1, batch_size=256, width=4, dense_units=16)
WILD = dataclasses.replace(BASE, learning_rate=1e8, likelihood="bernoulli", epochs=2)
LOST = dataclasses.replace(BASE, dataset="no_such_set")


def test_grid_is_every_combination_and_keeps_the_rest():
    configs = grid(BASE, latent_dim=(2, 8), seed=range(3))
    assert [(config.latent_dim, config.seed) for config in configs] == [
        (d, s) for d in (2, 8) for s in range(3)
    ]
    assert all(config.epochs == 1 and config.dataset == "digits" for config in configs)


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    models_dir = tmp_path_factory.mktemp("models")
    return models_dir, run_study([*grid(BASE, latent_dim=(2, 3)), WILD, LOST, BASE], models_dir=models_dir)


def test_the_table_is_tidy_and_a_failed_cell_is_listed_and_does_not_stop_the_rest(study):
    _, table = study
    runs = table.drop_duplicates(["latent_dim", "likelihood", "dataset"])
    assert sorted(runs["status"]) == ["diverged", "failed", "finished", "finished"]
    assert "no_such_set" in runs.loc[runs["status"] == "failed", "error"].item()
    done = table[table["status"] == "finished"]
    assert done["run"].nunique() == 2 and not done.duplicated(["run", "score"]).any()
    assert set(done["source"]) == {"embedded digits (scikit-learn)"} and (done["parameters"] > 0).all()
    bits = done[(done["metric"] == "bits_per_dim") & (done["target"] == "test")]
    assert list(bits["unit"]) == ["bits/dim"] * 2 and set(bits["direction"]) == {"lower"}


def test_by_run_has_a_row_for_each_finished_run(study):
    models_dir, table = study
    wide = by_run(table)
    assert list(wide["latent_dim"]) == [2, 3] and wide["bits_per_dim_test"].between(1, 8).all()
    assert (wide["elbo_test"] + wide["distortion_test"] + wide["rate_test"]).abs().max() < 1e-3
    assert all((models_dir / name / "metrics.json").exists() for name in wide["run"])
    chosen = by_run(table, [*grid(BASE, latent_dim=(3, 2, 7)), WILD])
    assert list(chosen["latent_dim"]) == [3, 2] and list(chosen.columns) == list(wide.columns)


def test_results_are_read_from_the_runs_without_images_or_weights(study, tmp_path):
    models_dir, table = study
    for path in models_dir.glob("*/*.json"):
        (tmp_path / path.parent.name).mkdir(exist_ok=True)
        shutil.copy(path, tmp_path / path.parent.name)
    (tmp_path / "classifier-digits-0").mkdir()  # which lies there too, and is no run
    (tmp_path / "classifier-digits-0/metrics.json").write_text("{}")
    found = read_results([*grid(BASE, latent_dim=(3, 2)), WILD, LOST], tmp_path)
    assert found.to_csv() == table[table["status"] != "failed"].reset_index(drop=True).to_csv()
    with pytest.raises(InputError, match="no run of this study"):
        read_results([LOST], tmp_path)


@pytest.mark.slow
def test_nothing_is_done_twice_and_neither_order_nor_workers_change_a_byte(study, tmp_path, capsys):
    models_dir, table = study
    configs = [LOST, WILD, *grid(BASE, latent_dim=(3, 2))]
    times = {path: path.stat().st_mtime_ns for path in models_dir.glob("*/metrics.json")}
    assert run_study(configs, models_dir=models_dir).to_csv() == table.to_csv()
    assert times == {path: path.stat().st_mtime_ns for path in times} and len(times) == 3
    side_by_side = run_study(configs, n_jobs=2, models_dir=tmp_path, progress=True)
    assert "4 of 4 runs, 00:00 left" in capsys.readouterr().err
    one_thread = run_study(configs[::-1], n_jobs=2, models_dir=tmp_path / "again")
    csv = [frame.drop(columns=["seconds"]).to_csv() for frame in (side_by_side, one_thread)]
    assert csv[0] == csv[1]


def test_what_was_deleted_is_computed_again_and_no_more(study, tmp_path):
    models_dir, table = study
    shutil.copytree(models_dir, tmp_path / "models")
    times = {path: path.stat().st_mtime_ns for path in (tmp_path / "models").glob("*/metrics.json")}
    lost = by_run(table)["run"][0]
    shutil.rmtree(tmp_path / "models" / lost)
    again = run_study([*grid(BASE, latent_dim=(2, 3)), WILD, LOST], models_dir=tmp_path / "models")
    changed = {path.parent.name for path, time in times.items() if path.stat().st_mtime_ns != time}
    assert changed == {lost}
    assert again.drop(columns="seconds").to_csv() == table.drop(columns="seconds").to_csv()


def test_a_damaged_run_is_a_failed_cell_and_stops_no_other(study, tmp_path):
    models_dir, table = study
    shutil.copytree(models_dir, tmp_path / "models")
    damaged = tmp_path / "models" / by_run(table)["run"][0] / "metrics.json"
    damaged.write_text("{")
    again = run_study(grid(BASE, latent_dim=(2, 3)), models_dir=tmp_path / "models")
    failed = again[again["status"] == "failed"]
    assert "metrics.json is damaged" in failed["error"].item() and len(by_run(again)) == 1
    assert damaged.read_text() == "{"


def test_shards_are_disjoint_and_complete():
    configs = grid(BASE, seed=range(10))
    parts = [shard(configs + configs, i, 3) for i in (1, 2, 3)]
    assert sorted(config.seed for part in parts for config in part) == list(range(10))
    with pytest.raises(InputError, match="received 4/3"):
        shard(configs, 4, 3)


@pytest.mark.parametrize("preset", STUDIES)
def test_presets_change_one_thing_at_a_time(preset):
    for name, found in preset_comparisons(preset).items():
        fields = {field: {getattr(c, field) for c in found.configs} for field in found.configs[0].to_dict()}
        varied = {field for field, values in fields.items() if len(values) > 1}
        equal_time = {"epochs", "batch_size"} if name == "family" else set()
        assert varied - equal_time <= {"seed", "dataset", found.setting, found.within}
    assert len(all_configs(preset)) == len(set(all_configs(preset)))


def test_the_full_preset_has_three_seeds_everywhere_and_equal_training():
    for name, found in preset_comparisons("full").items():
        assert {config.seed for config in found.configs} >= {0, 1, 2}
        assert found.within == "epochs" or name == "family" or len({c.epochs for c in found.configs}) == 1


@pytest.mark.slow
def test_a_scorecard_is_kept_beside_the_run(tmp_path):
    evaluation = EvaluationConfig(
        seeds=(0, 1), n_samples=100, n_iwae=20, iwae_k=2, n_codes=300, n_pairs=50, n_tsne=60
    )
    table = run_study([BASE], evaluation=evaluation, models_dir=tmp_path)
    wide = by_run(table)
    assert 0 <= wide["active_units_z_mean"].item() <= 2 and 0 < wide["knn_accuracy_z_mean"].item() < 1
    assert wide["frechet_distance_mean_model"].item() > 0
    path = tmp_path / wide["run"].item() / "scorecard.json"
    time = path.stat().st_mtime_ns
    (tmp_path / wide["run"].item() / "model.keras").unlink()  # scores need no weights,
    shutil.rmtree(next(tmp_path.glob("classifier-*")))  # and no classifier
    again = run_study([BASE], evaluation=evaluation, models_dir=tmp_path)
    assert again.to_csv() == table.to_csv() and path.stat().st_mtime_ns == time
    assert not list(tmp_path.glob("classifier-*"))
    assert read_results([BASE], tmp_path, evaluation).to_csv() == table.to_csv()


def test_what_is_complete_is_read_where_its_images_are_not_available(monkeypatch):
    asked = []

    def gone(name, *arguments, **options):
        asked.append(name)
        raise InputError("is not available")

    monkeypatch.setattr("vae_lib.study.runner.load_dataset", gone)
    configs, paths = all_configs("full"), StudyPaths("no-such-folder", "models/study", stand_ins=False)
    table = run_study(
        configs, evaluation=STUDY_EVALUATION, data_dir=paths.data_dir, models_dir=paths.models_dir
    )
    pd.testing.assert_frame_equal(table, read_results(configs, paths.models_dir, STUDY_EVALUATION))
    assert table["run"].nunique() == len(configs)
    asked.clear()
    text = estimate(configs, paths, 2)
    assert "fashion_mnist: 0 of 81 runs left, 0.00 core-hours" in text and "0.00 h on 2 workers" in text
    assert sorted(asked) == ["cifar10", "fashion_mnist", "mnist", "sprites"]  # once each
    missing = dataclasses.replace(configs[0], seed=99)
    assert list(run_study([missing], models_dir=paths.models_dir)["status"]) == ["failed"]
    with pytest.raises(InputError, match="is not available"):
        estimate([missing], paths, 2)
