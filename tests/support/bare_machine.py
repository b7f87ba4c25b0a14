"""A `sitecustomize.py` that takes away from Python what a bare machine lacks."""

ABSENT = """
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {"ipywidgets", "tensorboard", "tkinter", "PyQt5", "PyQt6"}:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Absent())
"""
