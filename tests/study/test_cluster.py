"""A study on a cluster: a real scheduler and two worker processes, one of which is killed in mid-study."""

import signal
import subprocess
import sys
import threading
import time

import joblib
import pytest

from tools.execute_notebook import ROOT
from vae_lib.config import TrainConfig
from vae_lib.study.grids import grid
from vae_lib.study.results import by_run
from vae_lib.study.runner import run_study

pytestmark = pytest.mark.slow
BASE = TrainConfig(dataset="digits", latent_dim=2, epochs=20, batch_size=32, width=4, dense_units=16)


@pytest.fixture
def cluster(tmp_path):
    """The scheduler's address and the two workers."""
    begin = {"cwd": ROOT, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    file = tmp_path / "scheduler.json"
    options = ["--scheduler-file", str(file), "--no-dashboard"]
    scheduler = [sys.executable, "-m", "distributed.cli.dask_scheduler", "--port", "0", *options]
    worker = [sys.executable, "-m", "distributed.cli.dask_worker", "--nthreads", "1", "--no-nanny", *options]
    worker += ["--local-directory", str(tmp_path)]
    processes = [subprocess.Popen(command, **begin) for command in (scheduler, worker, worker)]
    yield file, processes[1:]
    for process in processes:
        process.kill()
        process.wait()


def test_a_killed_worker_costs_time_and_nothing_else(cluster, tmp_path):
    from dask.distributed import Client

    file, workers = cluster
    configs, models_dir = grid(BASE, latent_dim=(2, 3), seed=range(2)), tmp_path / "models"

    def kill_a_worker():  # while the other cells wait, or are under way
        while not list(models_dir.glob("*/metrics.json")):
            time.sleep(0.1)
        time.sleep(1)
        workers[0].kill()

    killer = threading.Thread(target=kill_a_worker, daemon=True)
    with Client(scheduler_file=str(file)) as client, joblib.parallel_config("dask"):
        client.wait_for_workers(2, timeout=120)
        killer.start()
        table = run_study(configs, n_jobs=-1, models_dir=models_dir)
    assert workers[0].wait(10) == -signal.SIGKILL and workers[1].poll() is None
    here = run_study(configs, models_dir=tmp_path / "here", n_jobs=2)
    scores = [frame.drop(columns="seconds").to_csv() for frame in (table, here)]
    assert scores[0] == scores[1] and len(by_run(table)) == 4
    assert len([path for path in models_dir.iterdir() if path.is_dir()]) == 4
