import re
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

from tests.support.tiny_models import SIZES, trained
from tools.execute_notebook import ROOT
from vae_lib.apps import write_explorer
from vae_lib.data.dataset import from_arrays
from vae_lib.models.vae import VAE
from vae_lib.training.run import load_run
from vae_lib.utils.errors import InputError

PLANE = {"width": 4, "dense_units": 16, "latent_dim": 2}
HOSTILE = (
    "<img src=x onerror=alert(1)>",
    "</script><script>window.caught = 1</script>",
    "$data & ${title}\u2028 <!-- &lt;",
)
STATE = "return { z: Array.from(state.z), label: state.label }"


def picture(page):
    """The pixels of the decoded image as they are drawn, grey."""
    script = """
        const canvas = element("picture");
        const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
        return Array.from(data).filter((_, i) => i % 4 === 0);
    """
    return np.array(page.run(script))


def decoded(vae, state):
    label = [state["label"]] if vae.num_classes else None
    return vae.decode(np.array([state["z"]]), label)[0].astype(int)


def test_names_are_shown_as_they_are_and_never_run(explore):
    page, _ = explore(trained(VAE((8, 8, 1), num_classes=3, **SIZES)), HOSTILE)
    for group in ("#classes span", "#legend span"):
        shown = page.run(
            "return [...document.querySelectorAll(arguments[0])].map((e) => e.textContent)", group
        )
        assert tuple(shown) == HOSTILE
    assert page.run("return [window.caught, document.querySelectorAll('img').length]") == [None, 0]
    assert page.messages() == []


@pytest.fixture
def server():
    """The address of a server, and the list of paths that it was asked for."""
    asked = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            self.send_response(204)
            self.end_headers()

        do_POST = do_GET

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", asked
        server.shutdown()


REQUESTS = """
    const [address, done] = arguments;
    const add = (tag, of) => document.body.append(Object.assign(document.createElement(tag), of));
    fetch(`${address}/fetch`, { mode: "no-cors" }).catch(() => 0);
    navigator.sendBeacon(`${address}/beacon`, "x");
    add("img", { src: `${address}/img` });
    add("script", { src: `${address}/script` });
    add("link", { rel: "stylesheet", href: `${address}/style` });
    add("iframe", { src: `${address}/frame` });
    const code = document.createElement("script");
    code.textContent = "window.caught = 1";
    document.body.append(code);
    setTimeout(done, 500);
"""


def test_no_request_leaves_the_page(explore, server, tmp_path):
    page, _ = explore(VAE((8, 8, 1), **SIZES))
    address, asked = server
    loaded = re.findall(r'"documentURL":"([^"]*)".*?"url":"([^"]*)"', "\n".join(page.messages("performance")))
    assert {url for pair in loaded for url in pair} == {(tmp_path / "page.html").as_uri()}
    page.send("execute/async", {"script": REQUESTS, "args": [address]})
    assert asked == [] and page.run("return window.caught") is None
    page.messages()

    text = (tmp_path / "page.html").read_text(encoding="utf-8")  # without its policy the same script gets out
    (tmp_path / "open.html").write_text(re.sub("<meta http-equiv.*", "", text), encoding="utf-8")
    page.open(tmp_path / "open.html")
    page.send("execute/async", {"script": REQUESTS, "args": [address]})
    wanted = {f"/{name}" for name in ("fetch", "beacon", "img", "script", "style", "frame")}
    until = time.monotonic() + 20
    while not wanted <= set(asked) and time.monotonic() < until:
        time.sleep(0.05)
    assert wanted <= set(asked)
    assert page.run("return window.caught") == 1


def test_all_of_it_works_with_the_keyboard_alone(explore):
    vae = trained(VAE((8, 8, 1), num_classes=3, **PLANE))
    page, _ = explore(vae)
    focus = """
        const at = document.activeElement;
        const ring = getComputedStyle(at.type === "radio" ? at.nextElementSibling : at);
        return [at.id || at.name || at.parentElement.textContent, ring.outlineStyle !== "none" ||
            ring.boxShadow !== "none"];
    """
    visited = {}
    for _ in range(20):
        page.press("Tab")
        name, has_ring = page.run(focus)
        if name in visited or page.run("return document.activeElement === document.body"):
            break
        before = page.run(STATE)
        page.press({"random": "Space", "reset": "Space", "to": "Left", "way": "Left"}.get(name, "Right"))
        visited[name] = page.run(STATE) != before
        assert has_ring, f"{name} does not show that it has the focus"
        np.testing.assert_array_less(np.abs(picture(page) - decoded(vae, page.run(STATE)).ravel()), 3)
    sliders = {name for name in visited if re.match(r"z\d", name)}
    assert len(sliders) == 2
    assert set(visited) - sliders == {"random", "reset", "class", "plane", "from", "to", "way"}
    assert all(visited.values()), visited


def test_the_plane_of_two_latents_is_the_latents_themselves(explore):
    page, _ = explore(trained(VAE((8, 8, 1), **PLANE)))
    half = page.run("return data.plane.half")
    box = page.run("const b = element('plane').getBoundingClientRect(); return [b.left, b.top, b.width]")
    left, top, side = box
    start, end = ((left + part * side, top + 0.25 * side) for part in (0.5, 0.75))
    page.drag(start, end)
    np.testing.assert_allclose(page.run(STATE)["z"], [0.5 * half, 0.5 * half], atol=2 * half / side)
    page.run("change({ z: Float32Array.from([0, 0]) }); element('plane').focus()")
    page.press("Right", times=3)
    page.press("Down")
    np.testing.assert_allclose(page.run(STATE)["z"], [3 * half / 50, -half / 50], atol=1e-5)


def test_the_plane_of_more_latents_leaves_what_lies_across_it(explore):
    vae = trained(VAE((8, 8, 1), **SIZES | {"latent_dim": 5}))
    page, data = explore(vae)
    before = np.array(page.run(STATE)["z"])
    page.run("element('plane').focus()")
    page.press("Up", times=4)
    step = np.array(page.run(STATE)["z"]) - before
    codes = vae.encode(data.x_test)[0]
    spread = np.linalg.svd(codes - codes.mean(axis=0))[2]  # principal axes
    along = spread @ step
    np.testing.assert_allclose(np.abs(along[1]), 4 * page.run("return data.plane.half") / 50, rtol=1e-3)
    np.testing.assert_allclose(np.delete(along, 1), 0.0, atol=1e-4)


def test_between_two_images_lie_their_codes_and_the_class_of_the_nearer(explore):
    vae = trained(VAE((8, 8, 1), num_classes=3, **SIZES))
    page, data = explore(vae)
    codes = vae.encode(data.x_test, data.y_test)[0]  # of classes 0, 1, 2, 0, 1, 2, ...
    choose = "document.querySelectorAll(`#${arguments[0]} input`)[arguments[1]].click()"
    page.run(choose, "from", 4)
    np.testing.assert_allclose(page.run(STATE)["z"], codes[4], atol=1e-5)
    page.run(choose, "to", 2)
    assert page.run(STATE)["label"] == 2 and page.run("return element('way').value") == "100"
    page.run("element('way').value = 30; element('way').dispatchEvent(new Event('input'))")
    state = page.run(STATE)
    np.testing.assert_allclose(state["z"], 0.7 * codes[4] + 0.3 * codes[2], atol=1e-5)
    assert state["label"] == 1
    page.frame()
    assert page.run("return document.querySelector('#classes :checked').parentElement.textContent") == "b"
    np.testing.assert_array_less(np.abs(picture(page) - decoded(vae, state).ravel()), 3)


def test_sliders_are_ordered_by_rate_and_random_codes_are_of_the_class(explore):
    vae = trained(VAE((8, 8, 1), num_classes=3, prior="gaussian", **SIZES | {"latent_dim": 40}))
    vae.prior.means.assign(np.arange(3.0)[:, None] * 100.0 * np.ones((3, 40)))
    page, data = explore(vae)
    z_mean, z_log_var = vae.encode(data.x_test, data.y_test)
    rates = 0.5 * (z_mean**2 + np.exp(z_log_var) - z_log_var - 1.0).mean(axis=0)
    shown = page.run("return [...document.querySelectorAll('#sliders label span')].map((e) => e.textContent)")
    assert shown == [f"z{i}" for i in np.argsort(-rates)[:32]]
    assert "The 8 latents of lower rates" in page.run("return element('latents-help').textContent")
    for label in (2, 0, 1):
        page.run("change({ label: arguments[0] }); element('random').click()", label)
        assert round(np.mean(page.run(STATE)["z"]) / 100.0) == label
    page.run("element('reset').click()")
    np.testing.assert_allclose(page.run(STATE)["z"], z_mean.mean(axis=0), atol=1e-4)


def luminance(color):
    parts = np.array(re.findall(r"[\d.]+", color)[:3], float) / 255
    return np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4) @ [
        0.2126,
        0.7152,
        0.0722,
    ]


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [400, 900, 1280])
def test_it_fits_the_window_and_is_legible_in_light_and_dark(explore, width, dark):
    names = ("a name of forty letters without a blank".replace(" ", ""), *HOSTILE[:2])
    page, _ = explore(VAE((8, 8, 3), num_classes=3, **SIZES), names, width=width, dark=dark)
    assert page.run("return document.documentElement.scrollWidth") == width
    colors = "const style = getComputedStyle(document.querySelector(arguments[0])); return [style.color, "
    paper = luminance(page.run("return getComputedStyle(document.documentElement).backgroundColor"))
    assert (paper < 0.05) == dark
    for part in ("h1", "#about", ".note", "#sliders small", "legend", "#caption"):
        ink = luminance(page.run(colors + "0]", part)[0])
        assert (max(ink, paper) + 0.05) / (min(ink, paper) + 0.05) >= 4.5, part
    for part in ("button", "#classes :checked + span"):
        ink, ground = map(luminance, page.run(colors + "style.backgroundColor]", part))
        assert (max(ink, ground) + 0.05) / (min(ink, ground) + 0.05) >= 4.5, part


def test_a_model_of_one_latent_has_no_plane_and_images_without_labels_no_classes(explore):
    page, _ = explore(VAE((8, 8, 1), **SIZES | {"latent_dim": 1}), classes=())
    assert page.run("return [nameOf(3), element('classes').hidden]") == ["test image 4", True]
    assert page.run("return [element('plane-section').hidden, element('sliders').children.length]") == [
        True,
        1,
    ]
    assert page.messages() == []


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["fashion_mnist-z32", "mnist-conditional", "fashion_mnist-conditional", "cifar10-z32"]
)
def test_trained_decoders_are_equal_and_flat_ones_give_30_pictures_a_second(name, explore):
    vae = load_run(ROOT / "models" / "showcase" / name).model()
    page, _ = explore(vae)
    labels = np.arange(100) % 3 if vae.num_classes else None
    z = vae.sample_prior(100, labels, seed=1)
    script = (
        "return arguments[0].map((z, i) => Array.from(decoded({ z: Float32Array.from(z), label: i % 3 })))"
    )
    images = np.array(page.run(script, z.tolist()))
    decoded = vae.decode(z, labels, temperature=0.0).reshape(images.shape).astype(int)
    assert np.abs(images - decoded).max() <= 2
    if vae.scales:
        return
    timed = """
        const start = performance.now();
        for (const z of arguments[0]) { state.z = Float32Array.from(z); show(); }
        return (performance.now() - start) / arguments[0].length;
    """
    milliseconds = min(page.run(timed, z[:25].tolist()) for _ in range(5))
    assert milliseconds < 1000 / 30


def test_what_no_page_can_be_made_of_is_refused_before_anything_is_written(tmp_path):
    images = np.zeros((20, 8, 8, 1), "uint8")
    data, path = from_arrays(images), tmp_path / "page.html"
    vae = VAE((8, 8, 1), **SIZES)
    large = VAE((8, 8, 1), network="mlp", dense_units=1600)
    for arguments, words in (
        ((vae, tmp_path / "page", data), "must end in .html; received .*page"),
        ((VAE((8, 8, 1), **SIZES, dtype="mixed_float16"), path, data), "float32; received mixed_float16"),
        ((vae, path, from_arrays(images, x_test=images[:1])), "2 test images or more; .* has 1"),
        ((vae, path, from_arrays(np.zeros((20, 9, 8, 1), "uint8"))), "must be of shape .*8, 8, 1"),
        ((VAE((8, 8, 1), num_classes=3, **SIZES), path, data), "a conditional model needs labels"),
        ((large, path, data), r"would have 1\d MB, of at most 12: .*--dense_units"),
    ):
        with pytest.raises(InputError, match=words):
            write_explorer(*arguments)
        assert not list(tmp_path.iterdir())
