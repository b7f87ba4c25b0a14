"""What README and docs name exists, and what they show runs."""

import re
import subprocess
import sys

import pytest

from tools.execute_notebook import ROOT

DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("*/README.md"), *ROOT.glob("docs/*.md")])
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_readme_is_short():
    assert len(README.split()) <= 1000


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_linked_files_tests_and_scripts_exist(document):
    text = document.read_text(encoding="utf-8")
    links = [document.parent / link for link in re.findall(r"\]\(([^)#:]+)\)", text)]
    names = [
        ROOT / name
        for name in re.findall(r"`(tests/[^`]+)`|python (benchmarks/\S+\.py)", text)
        for name in name
        if name
    ]
    assert not [path for path in links + names if not path.exists()]


@pytest.mark.slow
def test_the_readme_s_python_runs(tmp_path):
    (code,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 0, done.stderr[-3000:]
    assert re.search(r"^\d\.\d+ .*scikit-learn", done.stdout, re.MULTILINE), done.stdout[-500:]


def test_the_packages_that_the_readme_lists_are_those_there_are():
    table = README.partition("| package | holds |")[2].partition("\n\n")[0]
    listed = {
        name
        for row in table.splitlines()
        for name in re.findall(r"`(\w+)`", row.split("|")[1] if "|" in row else "")
    }
    library = ROOT / "vae_lib"
    packages = {path.parent.name for path in library.glob("*/__init__.py")}
    modules = {path.stem for path in library.glob("*.py") if not path.stem.startswith("__")}
    assert listed == packages | modules
