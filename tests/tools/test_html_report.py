import base64
import re
import warnings
from io import BytesIO
from pathlib import Path

import nbformat
import pytest
from bs4 import BeautifulSoup
from fontTools.ttLib import TTFont
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from PIL import Image

from tools import execute_notebook as committed
from tools.html_report import main, to_html
from vae_lib.utils.errors import InputError

ELBO = (
    r"$$\log p(x) \;\ge\; \underbrace{\mathbb{E}_{q(z|x)} \log p(x|z)}_{-\text{distortion}} \;-\; "
    r"\underbrace{\mathrm{KL}\big(q(z|x) \,\|\, p(z)\big)}_{\text{rate}}$$"
)
WIDGET = "application/vnd.jupyter.widget-view+json"
WIDGET_STATE = "application/vnd.jupyter.widget-state+json"


def png() -> bytes:
    buffer = BytesIO()
    Image.new("L", (2, 2)).save(buffer, format="png")
    return buffer.getvalue()


def notebook_of(*cells):
    return new_notebook(cells=[new_markdown_cell(cell) if isinstance(cell, str) else cell for cell in cells])


def shown(**data):
    """A cell with one output; a form's name is spelt with an underscore for the slash."""
    forms = {kind.replace("_", "/", 1): content for kind, content in data.items()}
    return new_code_cell("show()", outputs=[new_output("display_data", data=forms)])


class Page:
    """A page's text outside code, its code, its formulas, its style, and what it would load."""

    def __init__(self, html):
        self.named = BeautifulSoup(html, "html.parser").find_all
        self.formulas = [formula.get_text() for formula in self.named("math")]
        self.css = "".join(style.get_text() for style in self.named("style"))
        self.code = "".join(block.get_text() for block in self.named(["pre", "code"]))
        self.prose = "".join(
            text for text in self.named(string=True) if not text.find_parent(["pre", "code", "style", "math"])
        )

    def loads(self):
        names = ("src", "srcset", "href", "xlink:href", "poster", "data")
        tags = [tag for tag in self.named(True) if tag.name != "a"]
        links = [tag[name] for tag in tags for name in names if tag.has_attr(name)]
        links += re.findall(r"url\(\s*[\"']?([^)\"']*)", self.css) + re.findall(
            "@import", self.css, re.IGNORECASE
        )
        return [link for link in links if link[:5] != "data:"]


def page(*cells, images="."):
    return Page(to_html(notebook_of(*cells), title="tiny", images=images))


def opens_offline(report):
    return not (report.loads() or report.named(["script", "link"]))


def test_a_page_loads_nothing_and_its_policy_forbids_everything():
    report = page(ELBO, shown(image_png=base64.b64encode(png()).decode(), text_plain="<Figure>"))
    assert opens_offline(report)
    (policy,) = [meta["content"] for meta in report.named("meta", {"http-equiv": "Content-Security-Policy"})]
    rules = dict(rule.split(maxsplit=1) for rule in policy.split(";"))
    assert rules.pop("default-src") == "'none'" and rules.pop("style-src") == "'unsafe-inline'"
    assert rules == dict.fromkeys(["img-src", "media-src", "font-src"], "data:")


def test_formulas_become_mathml():
    report = page(
        "# The $D \\ln 2$",
        f"An *image* $x$ from $q(z|x) = N(0, \\operatorname{{diag}} a_1 * b_1)$:\n\n{ELBO}",
    )
    assert [formula.get("display") for formula in report.named("math")] == [None, None, None, "block"]
    _, variable, normal, elbo = report.formulas
    assert variable == "x" and "diag" in normal and "*" in normal.replace("∗", "*")
    assert "𝔼" in elbo and "KL" in elbo and elbo.count("⏟") == 2 and "distortion" in elbo and "‖" in elbo
    assert "\\" not in "".join(report.formulas) and "$" not in report.prose
    assert [emphasis.get_text() for emphasis in report.named("em")] == ["image"]


def test_environments_latex_outputs_and_tables_may_hold_formulas():
    equation = "\\begin{equation}a = b\\end{equation}"
    report = page(
        equation,
        equation,
        shown(text_latex="$\\displaystyle \\mu$"),
        "| a |\n|---|\n| $|x|$ `$y$` |",
        "\\\\(z\\\\)",
    )
    assert "(1)" in report.formulas[0] and "(2)" in report.formulas[1]
    assert report.formulas[2] == "μ" and report.formulas[-1] == "z" and "$y$" in report.code


CODE = [
    ("a `$x$` and `c$` b", "$x$"),
    ("(see `$a`, and `b$`)", "$a"),
    ("```sh\necho $$\nkill $$ $x$\n```", "kill $$ $x$"),
    ("~~~\n$$a$$\n~~~", "$$a$$"),
    ("text\n\n    $a$ $$b$$\n", "$a$ $$b$$"),
    ("- item\n\n  ```\n  $$a$$\n  ```", "$$a$$"),
    (new_code_cell('price = "$5 and $6"  # $x$ and $$y$$'), '"$5 and $6"  # $x$ and $$y$$'),
    (new_code_cell("", outputs=[new_output("stream", text="from $5 to $6")]), "from $5 to $6"),
    (shown(text_plain="'$x$'"), "'$x$'"),
]


@pytest.mark.parametrize(("cell", "code"), CODE)
def test_dollars_in_code_and_printed_text_are_left_alone(cell, code):
    report = page(cell)
    assert code in report.code and not report.formulas


def test_escaped_and_single_dollars_stay_dollars():
    report = page("from \\$5 to \\$6, or $7")
    assert "from $5 to $6, or $7" in report.prose and not report.formulas


def test_the_font_for_formulas_is_embedded_and_can_stretch():
    found = re.search(r"font-family: formula; src: url\(data:font/woff;base64,([^)]*)\)", page(ELBO).css)
    font = TTFont(BytesIO(base64.b64decode(found.group(1))))
    assert {ord(letter) for letter in "𝔼⏟‖≥𝑥𝜇(√"} <= set(font.getBestCmap())
    stretching = font["MATH"].table.MathVariants.HorizGlyphCoverage.glyphs
    assert font.getBestCmap()[ord("⏟")] in stretching
    assert "font/woff" not in page("no formula").css


def test_images_are_embedded_and_described(tmp_path):
    (tmp_path / "a.png").write_bytes(png())
    encoded = base64.b64encode(png()).decode()
    cell = new_markdown_cell("![attached](attachment:b.png)", attachments={"b.png": {"image/png": encoded}})
    figures = shown(image_png=encoded), shown(image_png=encoded)
    drawing = shown(**{"image_svg+xml": "<svg/>"})
    comment = new_code_cell("# no heading")
    html = '<p><img src="a.png" alt="in a tag"></p>'
    report = page(
        figures[0],
        '## 2 "Data" & $x$\n\ntext',
        comment,
        figures[1],
        drawing,
        "![file](a.png)",
        cell,
        html,
        images=tmp_path,
    )
    alts = [image["alt"] for image in report.named("img")]
    assert alts == ["Figure", *['Figure: 2 "Data" & x'] * 2, "file", "attached", "in a tag"]
    sources = [image["src"].partition(",") for image in report.named("img")]
    assert [data for kind, _, data in sources if kind == "data:image/png;base64"] == [encoded] * 5
    assert opens_offline(report)


def test_what_is_folded_away_stays_inside():
    folded = "<details><summary>Solution</summary>\n\nHidden *words*.\n\n```python\nx = 1\n```\n\n</details>"
    text = f"{folded}\n\nAfter."
    page = BeautifulSoup(to_html(notebook_of(text), title="t", images=Path()), "html.parser")
    folded = page.find("details")
    assert "Hidden words" in folded.get_text() and "x = 1" in folded.get_text()
    assert "After" not in folded.get_text()


def test_what_needs_a_script_shows_its_text():
    widget = shown(**{WIDGET: {"model_id": "1"}, "text_plain": "IntSlider(value=0)"})
    script = shown(application_javascript="fetch('https://example.org')", text_plain="<Javascript>")
    cells = notebook_of(widget, script, "```mermaid\ngraph TD\n```")
    cells.metadata["widgets"] = {WIDGET_STATE: {"state": {}}}
    report = Page(to_html(cells, title="tiny", images="."))
    assert "IntSlider(value=0)" in report.code and "<Javascript>" in report.code and "graph TD" in report.code
    assert not report.loads() and {script["type"] for script in report.named("script")} <= {WIDGET_STATE}


def test_links_may_lead_outside():
    (link,) = page("[a paper](https://example.org/1312.6114)").named("a")
    assert link["href"] == "https://example.org/1312.6114"


def test_the_same_notebook_gives_the_same_bytes():
    cells = notebook_of(ELBO, shown(image_png=base64.b64encode(png()).decode()))
    assert to_html(cells, title="t", images=".") == to_html(cells, title="t", images=".")


OUTSIDE = [
    "![remote](https://example.org/a.png)",
    '<img alt="" src="//example.org/a.png">',
    "![missing](missing.png)",
    "![above](../a.png)",
    shown(text_html='<script src="https://example.org/plotly.js"></script>'),
    shown(text_html='<link rel="stylesheet" href="https://example.org/a.css">'),
    shown(text_html='<iframe width="1" src="https://example.org/"></iframe>'),
    shown(text_html='<svg><image href="https://example.org/a.png"/></svg>'),
]


@pytest.mark.parametrize("cell", OUTSIDE)
def test_what_cannot_be_embedded_is_refused(cell, tmp_path):
    (tmp_path / "a.png").write_bytes(png())
    (tmp_path / "below").mkdir()
    with pytest.raises(InputError, match=r"would have to load \S*(example\.org|\.png)"):
        page(cell, images=tmp_path / "below")


def written(tmp_path, *cells):
    path = tmp_path / "my study.ipynb"
    nbformat.write(notebook_of(*cells), path)
    return path


def test_the_command_writes_a_file_named_after_the_notebook(tmp_path, capsys):
    (tmp_path / "a.png").write_bytes(png())
    path, folder = written(tmp_path, "$x$ ![file](a.png)"), tmp_path / "new" / "folder"
    assert main([str(path), "--out", str(folder)]) == 0
    assert capsys.readouterr().out == f"{folder / 'my study.html'}\n"
    assert [file.name for file in folder.iterdir()] == ["my study.html"]
    report = Page((folder / "my study.html").read_text(encoding="utf-8"))
    assert report.formulas == ["x"] and opens_offline(report)


def test_an_old_notebook_without_ids_is_written_without_a_warning(tmp_path):
    path = tmp_path / "old.ipynb"
    path.write_text(
        f'{V4}, "cells": [{{"cell_type": "markdown", "metadata": {{}}, "source": ["a\\n", "b"]}}]}}'
    )
    with warnings.catch_warnings(action="error"):
        assert main([str(path), "--out", str(tmp_path)]) == 0
    assert "a\nb" in Page((tmp_path / "old.html").read_text(encoding="utf-8")).prose


V4 = '{"nbformat": 4, "nbformat_minor": 5, "metadata": {}'
BAD_FILES = {
    "empty": b"",
    "text": b"no JSON\nat all",
    "list": b"[]",
    "null": b"null",
    "object": b"{}",
    "bytes": b"\xff\xfe\x00",
    "cells": f"{V4}}}".encode(),
    "kind": f'{V4}, "cells": [{{"cell_type": "x"}}]}}'.encode(),
    "string": f'{V4}, "cells": "x"}}'.encode(),
    "version": b'{"nbformat": 9, "nbformat_minor": 0, "metadata": {}, "cells": []}',
}


def refused(capsys, *arguments):
    """Run the command with input it must refuse; return its message, which is one line."""
    with warnings.catch_warnings(action="error"):  # a warning would be a second line
        assert main([str(argument) for argument in arguments]) == 2
    captured = capsys.readouterr()
    assert (
        not captured.out and captured.err.count("\n") == 1 and captured.err.startswith("html_report: error: ")
    )
    return captured.err


@pytest.mark.parametrize("content", BAD_FILES.values(), ids=BAD_FILES)
def test_a_file_that_is_not_a_notebook_is_refused_in_one_line(content, tmp_path, capsys):
    path = tmp_path / "bad.ipynb"
    path.write_bytes(content)
    assert f"{path} is not a notebook" in refused(capsys, path, "--out", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_missing_file_or_a_folder_is_refused_in_one_line(tmp_path, capsys):
    missing = refused(capsys, tmp_path / "missing.ipynb", "--out", tmp_path / "out")
    assert "missing.ipynb: No such file" in missing and "give an .ipynb file" in missing
    assert "Is a directory" in refused(capsys, tmp_path, "--out", tmp_path / "out")


FORMULAS = [
    ("$\\foo{x}$", 'formula \\foo{x}: Unknown command "\\foo".'),
    ("$$\n\\frac{1\n$$", "formula \\frac{1: Expected"),
    ("costs 5$ or 6 & 7$", "write a dollar sign that is meant as \\$"),
    ("![a](attachment:a.png)", "missing attachment: a.png"),
]


@pytest.mark.parametrize(("text", "message"), FORMULAS)
def test_a_wrong_formula_is_refused_and_the_earlier_report_stays(text, message, tmp_path, capsys):
    (tmp_path / "my study.html").write_text("before")
    assert message in refused(capsys, written(tmp_path, text), "--out", tmp_path)
    assert (tmp_path / "my study.html").read_text() == "before"


def test_a_report_that_cannot_be_written_is_reported(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert main([str(written(tmp_path, "text")), "--out", str(tmp_path / "file")]) == 1
    assert "file" in capsys.readouterr().err


@pytest.mark.slow
def test_the_committed_notebook_is_complete_and_loads_nothing():
    report = Page(to_html(committed.read(), title="study", images=committed.ROOT))
    outputs = [output for cell in committed.read().cells for output in cell.get("outputs", [])]
    made = sum("image/png" in output.get("data", {}) for output in outputs)
    assert len(report.named("img")) == made + committed.read().cells[0].source.count("![") > 20
    assert opens_offline(report) and report.formulas and "$" not in report.prose
