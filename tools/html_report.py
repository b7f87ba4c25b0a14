"""The notebook as one HTML file that opens offline: figures and formulas inside, no scripts.

`python -m tools.html_report NOTEBOOK --out FOLDER` writes FOLDER/NOTEBOOK.html from the notebook as it was
executed; nothing is executed here.
"""

import argparse
import sys
import warnings
from base64 import b64encode
from importlib.metadata import distribution
from io import BytesIO
from logging import ERROR, Logger
from pathlib import Path

import nbformat
from bs4 import BeautifulSoup
from fontTools import subset
from jinja2 import pass_context
from math_core import LatexError, LatexToMathML
from nbconvert import HTMLExporter
from nbconvert.filters.markdown_mistune import InvalidNotebook, IPythonRenderer, MarkdownWithMath
from traitlets.config import Config

from vae_lib.utils.errors import InputError
from vae_lib.utils.files import write_text

# nbconvert's page without require.js, MathJax, Mermaid and widgets; the policy forbids requests and scripts.
_TEMPLATE = """
{%- extends 'index.html.j2' -%}
{%- block html_head_js -%}
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; \
img-src data:; media-src data:; font-src data:">
{%- endblock -%}
{%- block jupyter_widgets -%}{%- endblock -%}
{%- block html_head_js_mathjax -%}{%- endblock -%}
{%- block html_head_js_mermaidjs -%}{%- endblock -%}
{%- block html_head_css -%}
<style>
main { max-width: 72rem; margin: auto }
.jp-RenderedMarkdown pre { margin-bottom: 1em }
math { font-family: formula, math }
math[display=block] { will-change: transform } /* a layer, or Chromium cuts a brace where two tiles meet */
</style>
{%- endblock -%}
{%- block data_latex -%}{{ output.data['text/latex'] | markdown2html }}{%- endblock -%}
"""
# The best form of an output that needs no script: widgets and Mermaid diagrams show their text.
_FORMS = [
    "text/html",
    "text/markdown",
    "image/svg+xml",
    "text/latex",
    "image/png",
    "image/jpeg",
    "text/plain",
]
# What a page loads when it is opened; a link, <a href>, may lead outside.
_LOADED = ("src", "srcset", "href", "xlink:href", "poster", "data")
# Glyphs that browsers draw though the text lacks them: the root sign, the italic h, letters as variables.
_IMPLIED = [0x221A, 0x210E, *range(0x1D434, 0x1D468), 0x1D6A4, 0x1D6A5, *range(0x1D6E2, 0x1D71C)]


def main(argv: list[str] | None = None) -> int:
    """Write a report; return the exit code: 0, 1 if it cannot be written, 2 for a bad notebook."""
    parser = argparse.ArgumentParser(prog="python -m tools.html_report", description=__doc__.splitlines()[0])
    parser.add_argument("notebook", type=Path, help="an .ipynb file, executed")
    parser.add_argument("--out", type=Path, default=Path("build"), help="folder to write to (default: build)")
    options = parser.parse_args(argv)
    path, report = options.notebook, options.out / f"{options.notebook.stem}.html"
    try:
        html = to_html(read_notebook(path), title=path.stem, images=path.parent)
        options.out.mkdir(parents=True, exist_ok=True)
        write_text(report, html)  # atomically: an earlier report stays if this fails
    except (InputError, OSError) as error:
        print(f"html_report: error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2 if isinstance(error, InputError) else 1
    print(report)
    return 0


def read_notebook(path: Path) -> nbformat.NotebookNode:
    """Return a notebook in format 4, converted if it is older; InputError if the file is not a notebook."""
    try:
        with warnings.catch_warnings(action="ignore"):  # cells without an id, which a report does not need
            notebook = nbformat.convert(nbformat.reader.reads(path.read_text(encoding="utf-8")), 4)
            nbformat.validate(notebook)  # nbformat.read does this too, but only logs what is wrong
        return notebook
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}; give an .ipynb file") from None
    except (ValueError, AttributeError, KeyError, TypeError, nbformat.ValidationError) as error:
        reason = str(error).partition("\n")[0]
        raise InputError(f"{path} is not a notebook ({reason}); give an .ipynb file") from None


def to_html(notebook: nbformat.NotebookNode, *, title: str, images: Path) -> str:
    """Return a notebook as a page that loads nothing.

    Args:
        notebook: Notebook with its outputs, format 4.
        title: Title of the page.
        images: Folder of the image files shown by Markdown cells; they are embedded.

    Raises:
        InputError: If a formula is wrong, or the page would have to load something.
    """
    exporter = HTMLExporter(
        config=Config(NbConvertBase={"display_data_priority": _FORMS}),
        raw_template=_TEMPLATE,
        filters={"markdown2html": _markdown_filter(images)},
        log=Logger("nbconvert", ERROR),  # it warns of images without a description, which follows below
    )
    try:
        html, _ = exporter.from_notebook_node(notebook, {"metadata": {"name": title}})
    except InvalidNotebook as error:  # an attachment is shown but missing
        raise InputError(f"the notebook has a {error}") from None
    page = BeautifulSoup(html, "html.parser")
    links = {tag[name] for tag in page(True) if tag.name != "a" for name in _LOADED if name in tag.attrs}
    if outside := sorted(link for link in links if not link.startswith(("data:", "#"))):
        raise InputError(
            f"the report would have to load {', '.join(outside)}; show only images in or below "
            f"{images.resolve()}, by their path from there"
        )
    for image in page.select(".jp-RenderedImage img, .jp-RenderedSVG img"):
        heading = image.find_previous(["h1", "h2", "h3", "h4", "h5", "h6"])
        image["alt"] = f"Figure: {heading.get_text()}" if heading else "Figure"
    if formulas := "".join(formula.get_text() for formula in page("math")):
        page.head.append(page.new_tag("style", string=_font_face(formulas)))
    return str(page)


def _markdown_filter(images: Path):
    """Return nbconvert's filter for Markdown, with formulas as MathML."""
    converter = LatexToMathML(fancy_error=False)  # one for the whole report, since it numbers the equations
    options = {"escape": False, "embed_images": True, "path": str(images), "anchor_link_text": ""}

    @pass_context
    def markdown2html(context, source: str) -> str:
        renderer = _Renderer(attachments=context.get("cell", {}).get("attachments"), **options)
        renderer.converter = converter
        return MarkdownWithMath(renderer).render(source)

    return markdown2html


class _Renderer(IPythonRenderer):
    """Renders as MathML what nbconvert's parser takes for a formula, which code is not."""

    def _html_embed_images(self, html: str) -> str:
        """Embed images; leave other HTML alone, for the parser closes what a block only opens: <details>."""
        return super()._html_embed_images(html) if "<img" in html else html

    def inline_math(self, body: str, displaystyle: bool = False) -> str:
        try:
            return self.converter.convert_with_global_state(body, displaystyle=displaystyle)
        except LatexError as error:
            problem = str(error).partition(": ")[2]
            hint = "Correct it; write a dollar sign that is meant as \\$"
            raise InputError(f"formula {body.strip()}: {problem} {hint}") from None

    def block_math(self, body: str) -> str:
        return self.inline_math(body, displaystyle=True)

    def latex_environment(self, name: str, body: str) -> str:
        return self.block_math(f"\\begin{{{name}}}{body}\\end{{{name}}}")


def _font_face(formulas: str) -> str:
    """Return the CSS rule that embeds the glyphs that formulas need of STIX Two, which comes with ziamath.

    Not every system has a mathematical font, and without one the browser cannot stretch a brace.
    """
    path = distribution("ziamath").locate_file("ziamath/fonts/STIXTwoMath-Regular.ttf")
    options = subset.Options(flavor="woff", hinting=False, layout_features=["*"])
    font, woff = subset.load_font(path, options), BytesIO()
    subsetter = subset.Subsetter(options)
    subsetter.populate(text=formulas, unicodes=_IMPLIED)
    subsetter.subset(font)
    subset.save_font(font, woff, options)
    url = f"data:font/woff;base64,{b64encode(woff.getvalue()).decode()}"
    return f"@font-face {{ font-family: formula; src: url({url}) }}"


if __name__ == "__main__":
    sys.exit(main())
