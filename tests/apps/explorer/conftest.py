import numpy as np
import pytest

from tests.support.browser import COMMANDS, browser
from vae_lib.apps import write_explorer
from vae_lib.data.dataset import from_arrays


@pytest.fixture(scope="session")
def chromium():
    if not all(COMMANDS.values()):
        pytest.skip("needs Debian's packages chromium and chromium-driver")
    with browser() as session:
        yield session


@pytest.fixture
def explore(chromium, tmp_path):
    """A function that writes the page of a model, opens it, and returns the browser and the data set."""

    def explore(vae, classes=("a", "b", "c"), n=24, **window):
        rng = np.random.default_rng(0)
        x = rng.integers(0, 256, (2 * n, *vae.image_shape), dtype="uint8")
        labels = np.arange(n) % len(classes) if classes else None
        data = from_arrays(x[n:], labels, x[:n], labels, name="own", class_names=classes)
        write_explorer(vae, tmp_path / "page.html", data)
        chromium.messages(), chromium.messages("performance")  # of the page before
        chromium.open(tmp_path / "page.html", **window)
        return chromium, data

    return explore
