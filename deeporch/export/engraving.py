"""Scores as pictures: SVG and PDF, engraved by verovio."""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..util.files import atomic_path, write_text
from .musicxml import musicxml
from .staves import tempo_and_grid

if TYPE_CHECKING:
    from ..orchestration.solution import Solution

ONE_SYSTEM = {"breaks": "none", "adjustPageHeight": True, "adjustPageWidth": True, "header": "none"}
PAGES = {"breaks": "auto", "pageHeight": 2700, "pageWidth": 2100, "header": "none", "scaleToPageSize": True}


def engrave(solution: Solution, *, tempo: float | None = None) -> str:
    """Return the score as a picture: an SVG of one system, for ``IPython.display.SVG``."""
    drawn = _loaded(musicxml(solution, tempo=tempo), scale=40, svgViewBox=True, **ONE_SYSTEM).renderToSVG(1)
    return re.sub(r'viewBox="0 0 (\S+) (\S+)"', r'width="\1" height="\2" \g<0>', drawn, count=1)  # else page-wide


def _loaded(score: bytes, **options: Any) -> Any:
    import verovio

    verovio.enableLog(verovio.LOG_OFF)
    verovio.setDefaultResourcePath(str(Path(verovio.__file__).parent / "data"))  # each thread has a default of its own
    toolkit = verovio.toolkit()
    common = {"footer": "none", "xmlIdSeed": 1, "smuflTextFont": "embedded", "pageMarginLeft": 100}
    toolkit.setOptions(common | options)
    if not toolkit.loadData(score.decode()):
        raise ValueError("verovio cannot read this score.")
    return toolkit


def to_svg(solution: Solution, path: str | Path, *, tempo: float | None = None) -> Path:
    """Write the score as one system, in SVG."""
    return write_text(path, engrave(solution, tempo=tempo))


def to_pdf(solution: Solution, path: str | Path, *, tempo: float | None = None) -> Path:
    """Write the score as pages of A4, in PDF."""
    from reportlab.graphics import renderPDF
    from reportlab.lib.pagesizes import A4
    from reportlab.pdfgen.canvas import Canvas
    from svglib.svglib import svg2rlg

    tempo, _ = tempo_and_grid(solution, tempo)
    players = len({note.player for note in solution.attacks}) or len(solution.orchestra)
    mark = rb'(?s)<direction placement="above">\s*<direction-type>\s*<metronome>.*?</direction>'
    score = re.sub(mark, b"", musicxml(solution, tempo=tempo))  # its note is a glyph of a font that PDF would need
    toolkit = _loaded(score, scale=min(80, 1500 // players), svgViewBox=False, **PAGES)
    with atomic_path(path) as temporary:
        canvas = Canvas(str(temporary), pagesize=A4, invariant=True)
        canvas.setTitle(solution.title or "Orchestration")
        for page in range(1, toolkit.getPageCount() + 1):
            if page == 1:
                canvas.setFont("Times-Roman", 20)
                canvas.drawCentredString(A4[0] / 2, A4[1] - 48, solution.title or "Orchestration")
                canvas.setFont("Times-Roman", 10)
                canvas.drawString(48, A4[1] - 72, f"quarter = {tempo:g}")
            drawing = svg2rlg(io.StringIO(toolkit.renderToSVG(page)))
            drawing.scale(A4[0] / drawing.width, A4[0] / drawing.width)
            renderPDF.draw(drawing, canvas, 0, 0)
            canvas.showPage()
        canvas.save()
    return Path(path)
