"""The notebook as one HTML file that opens offline: figures and formulas inside, no scripts.

`python -m tools.html_report NOTEBOOK --out FOLDER` writes FOLDER/NOTEBOOK.html from the outputs that lie in
the notebook; nothing is executed.
"""

import argparse
import re
import sys
import warnings
from base64 import b64encode
from collections.abc import Callable
from html import escape
from importlib.metadata import distribution
from io import BytesIO
from itertools import takewhile
from pathlib import Path

import nbformat
from fontTools import subset
from jinja2 import pass_context
from math_core import LatexError, LatexToMathML
from nbconvert import HTMLExporter
from nbconvert.filters.markdown_mistune import InvalidNotebook, IPythonRenderer, MarkdownWithMath
from traitlets.config import Config

from vae_lib.utils.errors import InputError
from vae_lib.utils.files import write_text

# Where nbconvert's page would load require.js, MathJax, Mermaid and the widgets' code, it gets nothing, and a
# rule for the browser that forbids every request and every script.
_TEMPLATE = """
{%- extends 'index.html.j2' -%}
{%- block html_head_js -%}
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; \
img-src data:; media-src data:; font-src data:">
{%- endblock -%}
{%- block jupyter_widgets -%}{%- endblock -%}
{%- block html_head_js_mathjax -%}{%- endblock -%}
{%- block html_head_js_mermaidjs -%}{%- endblock -%}
{%- block data_latex -%}{{ output.data['text/latex'] | markdown2html }}{%- endblock -%}
{%- block data_svg -%}{{ super() | with_alt(nb, cell) }}{%- endblock -%}
{%- block data_png -%}{{ super() | with_alt(nb, cell) }}{%- endblock -%}
{%- block data_jpg -%}{{ super() | with_alt(nb, cell) }}{%- endblock -%}
"""
# Of an output's forms, the best that needs no script: widgets and Mermaid diagrams show their text.
_FORMS = (
    "text/html",
    "text/markdown",
    "image/svg+xml",
    "text/latex",
    "image/png",
    "image/jpeg",
    "text/plain",
)
# Links may lead outside, but whatever a page loads when it is opened must lie inside it.
_OUTSIDE = re.compile(r'<(?!a\s)[^<>]*\s(?:src|srcset|href|poster|data)="(?!data:|#)([^"]*)"')
# A formula on a layer of its own: where a page's tiles meet, Chromium cuts a stretched brace off.
_MATH_CSS = "math{font-family:formula,math}math[display=block]{will-change:transform}"
_FORMULA = re.compile(r"<math\b.*?</math>", re.DOTALL)
# What a browser draws though the formula does not contain it: the root's sign, and variables in italics.
_IMPLIED = [0x221A, 0x210E, *range(0x1D434, 0x1D468), 0x1D6A4, 0x1D6A5, *range(0x1D6E2, 0x1D71C)]


def main(argv: list[str] | None = None) -> int:
    """Write a report; return the exit code: 0, 1 if it cannot be written, 2 for a bad notebook."""
    parser = argparse.ArgumentParser(
        prog="python -m tools.html_report", description="Write a notebook as one HTML file."
    )
    parser.add_argument("notebook", type=Path, help="an .ipynb file, executed")
    parser.add_argument("--out", type=Path, default=Path("build"), help="folder to write to (default: build)")
    options = parser.parse_args(argv)
    try:
        print(write_report(options.notebook, options.out))
    except (InputError, OSError) as error:
        print(f"html_report: error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2 if isinstance(error, InputError) else 1
    return 0


def write_report(path: Path, folder: Path) -> Path:
    """Write a notebook as an HTML file of the same name into a folder, made if missing.

    Raises:
        InputError: If the file is no notebook, a formula is wrong, or an image cannot be embedded.
        OSError: If the report cannot be written; one of before is then as it was.
    """
    html = to_html(read_notebook(path), title=path.stem, images=path.parent)
    folder.mkdir(parents=True, exist_ok=True)
    report = folder / f"{path.stem}.html"
    write_text(report, html)
    return report


def read_notebook(path: Path) -> nbformat.NotebookNode:
    """Return a notebook of format 4, converted if it is older.

    Raises:
        InputError: If there is no such file, or it is no notebook.
    """
    try:
        text = path.read_text(encoding="utf-8")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of cells without an id, which a report does not need
            notebook = nbformat.convert(nbformat.reader.reads(text), 4)
            nbformat.validate(notebook)  # which `nbformat.read` does too, but then only logs what is wrong
        return notebook
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}; give an .ipynb file") from None
    except (ValueError, AttributeError, KeyError, TypeError, nbformat.ValidationError) as error:
        reason = str(error).partition("\n")[0]
        raise InputError(f"{path} is no notebook ({reason}); give an .ipynb file") from None


def to_html(notebook: nbformat.NotebookNode, *, title: str, images: Path) -> str:
    """Return a notebook as a page that loads nothing.

    Args:
        notebook: With its outputs, format 4.
        title: Of the page.
        images: Folder of the image files that Markdown cells show; they are embedded.

    Raises:
        InputError: If a formula is wrong, or the page would have to load something.
    """
    exporter = HTMLExporter(
        config=Config(NbConvertBase={"display_data_priority": _FORMS}),
        raw_template=_TEMPLATE,
        filters={"markdown2html": _markdown_filter(images), "with_alt": _with_alt},
    )
    try:
        html, _ = exporter.from_notebook_node(notebook, {"metadata": {"name": title}})
    except InvalidNotebook as error:  # an attachment that is shown, and not there
        raise InputError(f"the notebook has a {error}") from None
    if outside := sorted(set(_OUTSIDE.findall(html))):
        raise InputError(
            f"the report would have to load {', '.join(outside)}; show only images that lie in or below "
            f"{images.resolve()}, by their path from there"
        )
    return html.replace("</head>", f"{_math_style(html)}</head>", 1)


def _markdown_filter(images: Path) -> Callable:
    """Return nbconvert's filter for Markdown, with formulas as MathML."""
    converter = LatexToMathML(fancy_error=False)  # one for the whole report, since it numbers the equations

    @pass_context
    def markdown2html(context, source: str) -> str:
        attachments = context.get("cell", {}).get("attachments", {})
        renderer = _Renderer(converter, path=str(images), attachments=attachments)
        return MarkdownWithMath(renderer).render(source)

    return markdown2html


class _Renderer(IPythonRenderer):
    """Renders what nbconvert's parser takes for a formula, which code is not, as MathML."""

    def __init__(self, converter: LatexToMathML, **options):
        super().__init__(escape=False, embed_images=True, **options)
        self.converter = converter

    def inline_math(self, body: str) -> str:
        return self._math(body, displaystyle=False)

    def block_math(self, body: str) -> str:
        return self._math(body, displaystyle=True)

    def latex_environment(self, name: str, body: str) -> str:
        return self._math(f"\\begin{{{name}}}{body}\\end{{{name}}}", displaystyle=True)

    def _math(self, latex: str, *, displaystyle: bool) -> str:
        try:
            return self.converter.convert_with_global_state(latex, displaystyle=displaystyle)
        except LatexError as error:
            problem = str(error).partition(": ")[2]
            raise InputError(
                f"formula {latex.strip()}: {problem} Correct it; a dollar sign that is meant is written \\$"
            ) from None


def _math_style(html: str) -> str:
    """Return the style that carries a font for the formulas of a page, if it has any.

    Not every system has a font for mathematics, and without one the browser cannot stretch a brace. This one,
    STIX Two, is what the package ziamath brings; only the signs that the page needs go into it.
    """
    formulas = "".join(_FORMULA.findall(html))
    if not formulas:
        return ""
    options = subset.Options(flavor="woff", hinting=False)
    forms = ("ssty", "dtls")  # letters for scripts, and dotless ones under accents
    options.layout_features = [*options.layout_features, *forms]
    subsetter = subset.Subsetter(options)
    subsetter.populate(text=formulas, unicodes=_IMPLIED)
    path = distribution("ziamath").locate_file("ziamath/fonts/STIXTwoMath-Regular.ttf")
    font = subset.load_font(path, options)
    subsetter.subset(font)
    woff = BytesIO()
    subset.save_font(font, woff, options)
    url = f"data:font/woff;base64,{b64encode(woff.getvalue()).decode()}"
    return f"<style>@font-face{{font-family:formula;src:url({url})}}{_MATH_CSS}</style>"


def _with_alt(html: str, notebook: nbformat.NotebookNode, cell: nbformat.NotebookNode) -> str:
    """Describe an output's image by the heading it stands under."""
    above = takewhile(lambda other: other is not cell, notebook.cells)
    titles = [text.source for text in above if text.cell_type == "markdown" and text.source.startswith("#")]
    alt = f"Figure: {titles[-1].splitlines()[0].strip('# ')}" if titles else "Figure"
    return html.replace("<img ", f'<img alt="{escape(alt)}" ', 1)


if __name__ == "__main__":
    sys.exit(main())
