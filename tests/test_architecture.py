"""Arrows between the rooms point one way."""

import ast
from pathlib import Path

import pytest

import vae_lib

ROOMS = sorted(path.stem for path in Path(vae_lib.__file__).parent.glob("*.py"))
# What a room may import of the others; a room that is not listed here is a leaf.
ALLOWED = {
    "__main__": {"cli"},
    "arrays": {"errors"},
    "baselines": {"errors", "metrics"},
    "checkpoint": {"atomic"},
    "classifier": {"atomic", "data", "errors", "networks", "runs", "startup"},
    "cli": {
        *("config", "data", "errors", "estimate", "folders", "interrupts", "measures", "presets", "report"),
        *("runs", "startup", "study", "study_report", "training"),
    },
    "config": {"errors"},
    "decoding": {"config"},
    "data": {"arrays", "config", "errors", "folders", "sources", "sprites"},
    "embeddings": {"style"},
    "estimate": {"config", "data", "errors", "results", "startup", "study", "training"},
    "evaluation": {"intervals", "metrics"},
    "export": {"atomic", "style"},
    "folders": {"atomic", "config", "decoding", "errors"},
    "findings": {"intervals"},
    "generation": {"measures", "quality", "subject"},
    "html_report": {"atomic", "errors"},
    "image_grids": {"style"},
    "key_findings": {"findings", "presets", "results"},
    "likelihoods": {"errors", "metrics"},
    "loop": {"atomic", "checkpoint", "config", "data", "evaluation", "interrupts", "runs", "startup"},
    "measures": {"intervals"},
    "models": {"errors", "latent", "likelihoods", "networks", "priors"},
    "networks": {"config", "errors"},
    "panels": {"plots", "style"},
    "plots": {"intervals", "style"},
    "presets": {"config", "errors", "protocol", "study"},
    "priors": {"errors"},
    "readings": {"findings"},
    "report": {
        "atomic",
        "classifier",
        "data",
        "disentanglement",
        "embeddings",
        "errors",
        "evaluation",
        "export",
        "image_grids",
        "latent",
        "measures",
        "plots",
        "runs",
        "scorecard",
        "style",
    },
    "runs": {"atomic", "config", "errors", "models"},
    "scorecard": {
        "classifier",
        "data",
        "disentanglement",
        "evaluation",
        "generation",
        "intervals",
        "latent",
        "measures",
        "metrics",
        "protocol",
        "representation",
        "subject",
    },
    "sliders": {"image_grids", "latent"},
    "sources": {"arrays", "atomic", "errors", "keras_download"},
    "sprites": {"errors"},
    "results": {"config", "errors", "measures", "protocol", "runs"},
    "study": {
        *("atomic", "classifier", "config", "data", "errors", "measures", "protocol", "results", "runs"),
        *("scorecard", "startup", "training"),
    },
    "study_report": {
        *("atomic", "config", "export", "findings", "folders", "key_findings", "panels", "plots", "presets"),
        "results",
    },
    "subject": {"classifier", "data", "evaluation", "latent", "protocol"},
    "training": {"atomic", "config", "data", "errors", "loop", "runs"},
}


def imports_of(room: str) -> set[str]:
    tree = ast.parse((Path(vae_lib.__file__).parent / f"{room}.py").read_text(encoding="utf-8"))
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("vae_lib"):
            parts = node.module.split(".")
            found |= {parts[1]} if len(parts) > 1 else {alias.name for alias in node.names}
        elif isinstance(node, ast.Import):
            found |= {alias.name.split(".")[1] for alias in node.names if alias.name.startswith("vae_lib.")}
    return found


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_imports_only_what_it_may(room):
    assert imports_of(room) <= ALLOWED.get(room, set())


def test_there_is_no_circle():
    def reach(room, seen=()):
        assert room not in seen, f"circle: {' -> '.join([*seen, room])}"
        for other in imports_of(room):
            reach(other, (*seen, room))

    for room in ROOMS:
        reach(room)


@pytest.mark.parametrize("room", sorted(ALLOWED))
def test_the_plan_lists_no_arrow_that_is_gone(room):
    assert imports_of(room) == ALLOWED[room]
