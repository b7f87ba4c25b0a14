import contextlib
import itertools
import json
from concurrent.futures import ThreadPoolExecutor
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from tests.support.figures import FIGURES, images, run_python
from vae_lib.plots.latents import plot_factor_matrix
from vae_lib.plots.save import save_animation, save_figure
from vae_lib.plots.style import figure_style

METADATA = {"source": "digits (scikit-learn) & <others>", "seeds": np.arange(3), "runs": ["digits-z16-b1-s0"]}


def test_saved_figures_carry_their_metadata(tmp_path):
    paths = save_figure(FIGURES["metric"](), "03_metric", directory=tmp_path / "new", metadata=METADATA)
    assert paths == [tmp_path / "new" / "03_metric.png", tmp_path / "new" / "03_metric.svg"]
    expected = {"source": METADATA["source"], "seeds": [0, 1, 2], "runs": METADATA["runs"]}
    with Image.open(paths[0]) as image:
        fields = image.text
    assert fields["Source"] == METADATA["source"] and fields["Software"] == "vae_lib"
    assert json.loads(fields["Description"]) == expected
    found = {node.tag.split("}")[1]: node.text for node in ElementTree.parse(paths[1]).iter() if node.text}
    assert found["source"] == METADATA["source"] and json.loads(found["description"]) == expected
    assert "date" not in found


@pytest.mark.slow
def test_every_figure_has_the_same_bytes_in_another_process(tmp_path):
    code = """
import sys
from tests.support.figures import FIGURES
from vae_lib.plots.save import save_figure
for name, draw in FIGURES.items():
    save_figure(draw(), name, directory=sys.argv[1], dpi=50)
"""
    with ThreadPoolExecutor() as pool:  # both at once
        there = pool.submit(run_python, code, tmp_path / "there")
        here = [save_figure(draw(), name, directory=tmp_path, dpi=50) for name, draw in FIGURES.items()]
    assert there.result().returncode == 0, there.result().stderr
    for path in itertools.chain.from_iterable(here):
        assert path.read_bytes() == (tmp_path / "there" / path.name).read_bytes(), path.name


def test_saving_leaves_the_figure_as_it_was(tmp_path):
    for name in ("manifold", "metric", "rate_distortion", "organisation", "rate_per_dim"):
        figure = FIGURES[name]()
        before = figure.get_size_inches().tolist(), figure.dpi, type(figure.get_layout_engine())
        first = [path.read_bytes() for path in save_figure(figure, "a", directory=tmp_path, dpi=50)]
        figure.draw_without_rendering()  # as a display does, which lays it out again
        with figure_style():
            second = [path.read_bytes() for path in save_figure(figure, "a", directory=tmp_path, dpi=50)]
        assert (figure.get_size_inches().tolist(), figure.dpi, type(figure.get_layout_engine())) == before
        assert first == second


def test_saved_figures_are_laid_out(tmp_path):
    figure = FIGURES["loss"]()
    save_figure(figure, "a", directory=tmp_path, dpi=50)
    legend = figure.legends[0].get_window_extent()
    assert all(ax.get_tightbbox().y0 > legend.y1 for ax in figure.axes)


@pytest.mark.parametrize(
    "name", ["../x", "a/b", "a b", "a\nb", "x\n", "", ".", "..", ".hidden", "a\\b", "a\0b", "x" * 101]
)
def test_names_that_could_leave_the_directory_are_refused(name, tmp_path):
    inside = tmp_path / "inside"
    with pytest.raises(ValueError, match="use letters, digits"):
        save_figure(FIGURES["factors"](), name, directory=inside)
    with pytest.raises(ValueError, match="use letters, digits"):
        save_animation(images(2, 4, 4, 1), name, directory=inside)
    assert list(tmp_path.iterdir()) == []


def test_the_name_of_a_figure_may_have_letters_of_any_language(tmp_path):
    save_figure(FIGURES["factors"](), "beta_Küche_数", directory=tmp_path, dpi=50)
    assert (tmp_path / "beta_Küche_数.png").exists()


@contextlib.contextmanager
def full_disk(limit: int):
    """No file may grow beyond `limit` bytes, as on a disk with so much space left."""
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_full_disk_leaves_the_old_files_and_nothing_else(tmp_path):
    small, large = (plot_factor_matrix(np.eye(n), range(n)).figure for n in (2, 12))
    paths = save_figure(small, "x", directory=tmp_path, dpi=30)
    before = [path.read_bytes() for path in paths]
    limit = max(map(len, before)) + 1000  # the new PNG fits, the new SVG does not
    with full_disk(limit), pytest.raises(OSError, match=r"x\.svg"):
        save_figure(large, "x", directory=tmp_path, dpi=30)
    assert [path.read_bytes() for path in paths] == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["x.png", "x.svg"]
    after = save_figure(large, "x", directory=tmp_path, dpi=30)
    assert after[0].stat().st_size < limit < after[1].stat().st_size


@pytest.mark.parametrize("channels", [1, 3])
def test_animation_shows_its_frames_and_has_reproducible_bytes(channels, tmp_path):
    frames = images(3, 6, 5, channels)
    first, second = (save_animation(frames, n, directory=tmp_path, metadata=METADATA) for n in "ab")
    assert first == tmp_path / "a.gif" and first.read_bytes() == second.read_bytes()
    with Image.open(first) as gif:
        assert (gif.n_frames, gif.size, gif.info["duration"], gif.info["loop"]) == (3, (20, 24), 100, 0)
        assert json.loads(gif.info["comment"])["source"] == METADATA["source"]
        for i, frame in enumerate(frames):
            gif.seek(i)
            shown = np.asarray(gif.convert("RGB"))[1::4, 1::4]
            np.testing.assert_array_equal(shown, np.broadcast_to(frame, (6, 5, 3)))


def test_animation_refuses_what_is_no_uint8_film(tmp_path):
    for frames in (images(3, 6, 5, 2), np.zeros((3, 6, 5, 1)), images(0, 6, 5, 1)):
        with pytest.raises(ValueError, match="give uint8"):
            save_animation(frames, "a", directory=tmp_path)
