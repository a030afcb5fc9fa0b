"""Draw the gallery: ``python docs/make_gallery.py [SIMULATED APDBS]``.

SIMULATED holds the three reruns of the preset hits2015 at full size, as ``hitsduck simulate
SIMULATED`` writes them; APDBS the two real files. Writes ``docs/images/gallery/`` and
``docs/gallery.md``; without folders the page alone, and ``-`` for a folder leaves its
pictures as they are. Needs the extra ``docs``.
"""

from __future__ import annotations

import io
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import hitsduck
from hitsduck import gallery
from hitsduck.simulator import load_preset

DOCS = Path(__file__).resolve().parent
IMAGES = DOCS / "images" / "gallery"
PAGE = DOCS / "gallery.md"
#: Of the screen; a line of text stays legible.
PNG_SCALE = 1.25
N_COLOURS = 256

COMPARING = (
    "edge_distances",
    "explanation",
    "dashboard",
    "matched_pairs",
    "sky_difference",
    "sky_overplot",
    "sky_zoom",
)


@dataclass(frozen=True)
class Origin:
    """Reruns that pictures are made of.

    Attributes
    ----------
    folder : str
        Of the pictures, below `IMAGES`.
    title, text : str
        Of the part of the page.
    files : dict of str to str
        Names of the reruns, and where below the folder given they lie.
    compared : tuple of str
        What charts of a comparison compare.
    instrument : str or None
    charts : tuple of str
    """

    folder: str
    title: str
    text: str
    files: dict[str, str]
    compared: tuple[str, str]
    instrument: str | None
    charts: tuple[str, ...]

    def python(self, name: str) -> str:
        """Return the call that draws one chart."""
        compare = ", ".join(f'"{rerun}"' for rerun in self.compared)
        options = f", compare=({compare})" if name in COMPARING else ""
        return f'reruns.chart("{name}"{options})'

    def command(self, name: str) -> str:
        """Return the command that draws one chart."""
        names = " ".join(self.compared if name in COMPARING else self.files)
        instrument = f" --instrument {self.instrument}" if self.instrument else ""
        return f"hitsduck chart {name} {names}{instrument} --output {name}.png"

    def draw(self, below: Path) -> None:
        """Draw the charts of the reruns below a folder."""
        folder = IMAGES / self.folder
        folder.mkdir(parents=True, exist_ok=True)
        paths = {name: below / file for name, file in self.files.items()}
        with hitsduck.open_reruns(paths, instrument=self.instrument) as reruns:
            for name in self.charts:
                # As the page says that it is drawn: of one rerun, that is the last.
                options = {"compare": self.compared} if name in COMPARING else {}
                drawn = reruns.chart(name, **options)
                (folder / f"{name}.png").write_bytes(_png(drawn))

    def section(self) -> str:
        """Return the part of the page."""
        parts = [f"## {self.title}\n\n{self.text}\n"]
        for name in self.charts:
            purpose = gallery.CHARTS[name].purpose
            parts.append(
                f"### {name}\n\n{purpose[:1].upper()}{purpose[1:]}.\n\n"
                f"![{name}: {purpose}](images/gallery/{self.folder}/{name}.png)\n\n"
                f"`{self.python(name)}`  \n`{self.command(name)}`\n"
            )
        return "\n".join(parts)


_N_SOURCES = [spec.targets.sources for spec in load_preset("hits2015").reruns if spec.targets]

SIMULATED = Origin(
    folder="simulated",
    title="Simulated",
    text=f"Three reruns of the preset hits2015 at full size: {min(_N_SOURCES):,} to "
    f"{max(_N_SOURCES):,} sources. Where two are compared, they are April and May. "
    "[The simulator](simulator.md) says what was planted.",
    files={"Apr2020": "Apr2020", "May2020": "May2020", "Jun2020": "Jun2020"},
    compared=("Apr2020", "May2020"),
    instrument=None,
    charts=tuple(gallery.CHARTS),
)
REAL = Origin(
    folder="real",
    title="Real",
    text="Two APDBs that pipelines of 2023 and 2024 left of the same visits of an LSST simulation: "
    "a few hundred sources on two CCDs.",
    files={
        "imsim-2023": "imsim-2023-packed.sqlite3",
        "imsim-2024": "imsim-2024-schema-0.1.1.sqlite3",
    },
    compared=("imsim-2023", "imsim-2024"),
    instrument="LSSTCam-imSim",
    charts=tuple(gallery.CHARTS),
)


def _png(drawn: Any) -> bytes:
    import vl_convert
    from PIL import Image

    picture = Image.open(io.BytesIO(vl_convert.vegalite_to_png(drawn.to_dict(), scale=PNG_SCALE)))
    written = io.BytesIO()
    # A chart has few colours; with a palette it takes a fifth of the bytes.
    picture.convert("RGB").quantize(N_COLOURS, dither=Image.Dither.NONE).save(
        written, "png", optimize=True
    )
    return written.getvalue()


def page() -> str:
    """Return docs/gallery.md."""
    return (
        "# The gallery\n\n"
        "Every chart, with the Python and the command that draw it; written by "
        "docs/make_gallery.py. A chart can be saved as HTML (with tooltips, zoom and clicks), PNG, "
        "SVG, PDF or Vega-Lite JSON; `reruns.chart_data(name)` gives the numbers behind it, "
        "`reruns.charts_data(names)` those of several.\n\n"
        f"{SIMULATED.section()}\n{REAL.section()}"
    )


def main() -> None:
    """Draw, and write the page."""
    for origin, below in zip((SIMULATED, REAL), sys.argv[1:], strict=False):
        if below != "-":
            origin.draw(Path(below))
    PAGE.write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
