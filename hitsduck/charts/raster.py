"""Pictures made of bins: one pixel a bin, as PNG inside the chart, under its axes."""

from __future__ import annotations

import base64
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import altair as alt
import numpy as np
import numpy.typing as npt
import polars as pl

from hitsduck.charts import theme

Indices = npt.NDArray[np.uint8]

#: A picture is no larger than this.
MOST_BYTES = 200_000
#: Steps of colour of a count: few, so that the picture stays small.
N_STEPS = 15
#: From few to many; each step is darker than the one before, in grey as well.
COUNT_RAMP = ("#b4d6ec", "#6fb1dc", "#3182bd", "#14568f", "#081d3f")
#: So few in the fullest bin are few.
_FEW = 4
#: Behind a tile of a mosaic.
TILE = "#eef1f4"
#: What a map is drawn on, in the dark as well, so that its colours mean the same.
PANEL = "#f8fafc"


@dataclass(frozen=True)
class Grid:
    """Where the bins of a map lie.

    Attributes
    ----------
    x_low, y_low : float
        Lower corner of the first bin.
    x_size, y_size : float
        Size of a bin.
    n_x, n_y : int
        Number of bins.
    x_reversed, y_reversed : bool
        The axis runs leftwards, or downwards.
    """

    x_low: float
    y_low: float
    x_size: float
    y_size: float
    n_x: int
    n_y: int
    x_reversed: bool = False
    y_reversed: bool = False

    @property
    def x_high(self) -> float:
        """Upper end of the last bin in x."""
        return self.x_low + self.n_x * self.x_size

    @property
    def y_high(self) -> float:
        """Upper end of the last bin in y."""
        return self.y_low + self.n_y * self.y_size

    def image(self, x_bin: pl.Series, y_bin: pl.Series, index: Indices) -> Indices:
        """Return the picture as rows from the top: 0 where there is no bin."""
        picture = np.zeros((self.n_y, self.n_x), dtype=np.uint8)
        picture[y_bin.to_numpy(), x_bin.to_numpy()] = index
        if not self.y_reversed:
            picture = picture[::-1]
        return picture[:, ::-1] if self.x_reversed else picture


def png(picture: Indices, palette: Sequence[str]) -> bytes:
    """Return a picture of palette colours as PNG (W3C, PNG specification, 1996).

    Parameters
    ----------
    picture : numpy.ndarray
        ``(height, width)``; 0 is transparent, k the k-th colour of the palette.
    palette : sequence of str
        At most 255 colours, ``#rrggbb``.
    """
    depth = next(bits for bits in (1, 2, 4, 8) if len(palette) < 2**bits)
    height, width = picture.shape
    per_byte = 8 // depth
    padded = np.zeros((height, -(-width // per_byte) * per_byte), dtype=np.uint8)
    padded[:, :width] = picture
    packed = np.zeros((height, padded.shape[1] // per_byte), dtype=np.uint8)
    for place in range(per_byte):
        packed |= padded[:, place::per_byte] << (8 - depth * (place + 1))
    lines = np.concatenate([np.zeros((height, 1), dtype=np.uint8), packed], axis=1)
    colours = b"\x00\x00\x00" + b"".join(bytes.fromhex(colour[1:]) for colour in palette)
    parts = (
        (b"IHDR", struct.pack(">IIBBBBB", width, height, depth, 3, 0, 0, 0)),
        (b"PLTE", colours),
        (b"tRNS", b"\x00"),
        (b"IDAT", zlib.compress(lines.tobytes(), 7)),
        (b"IEND", b""),
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in parts
    )


def ramp(stops: Sequence[str], n_steps: int = N_STEPS) -> list[str]:
    """Return `n_steps` colours along some stops."""
    rgb = np.array([[int(stop[i : i + 2], 16) for i in (1, 3, 5)] for stop in stops], dtype=float)
    places = np.linspace(0, len(stops) - 1, n_steps)
    mixed = [np.interp(places, np.arange(len(stops)), rgb[:, channel]) for channel in range(3)]
    return [
        "#{:02x}{:02x}{:02x}".format(*(round(float(c[i])) for c in mixed)) for i in range(n_steps)
    ]


@dataclass(frozen=True)
class CountScale:
    """How counts become steps of colour.

    Attributes
    ----------
    kind : {"log", "linear"}
    low, high : float
        The counts of the first and of the last step; what is beyond has its colour.
    """

    kind: Literal["log", "linear"]
    low: float
    high: float

    @classmethod
    def of(cls, n: pl.Series) -> CountScale:
        """Choose a scale: logarithmic from 1, but linear where most bins hold many.

        Then an excess of a half beside an edge is seen, which a logarithm would hide.
        """
        counts = n.alias("n").to_frame()
        if theme.extreme(counts, "n", "median") < 4:
            return cls("log", 1.0, max(theme.extreme(counts, "n", "max"), 2.0))
        low, high = (float(n.quantile(part) or 0) for part in (0.01, 0.998))
        return cls("linear", low, max(high, low + 1.0))

    @property
    def colours(self) -> tuple[str, ...]:
        """The stops of colour: without the pale ones where no bin holds more than a few.

        Such bins lie apart, and one that is pale is lost on the paper.
        """
        return COUNT_RAMP[2:] if self.kind == "log" and self.high <= _FEW else COUNT_RAMP

    def index(self, n: pl.Series) -> Indices:
        """Return the step of every count, from 1."""
        counts = np.clip(n.to_numpy().astype(float), self.low, self.high)
        if self.kind == "log":
            part = np.log(counts / self.low) / np.log(self.high / self.low)
        else:
            part = (counts - self.low) / (self.high - self.low)
        steps: Indices = (1 + np.round(part * (N_STEPS - 1))).astype(np.uint8)
        return steps


def image_layer(
    picture: Indices, palette: Sequence[str], grid: Grid, *, has_axes: bool = True
) -> alt.Chart:
    """Return a picture as a layer that lies where its bins lie, and zooms with the axes.

    Titles and domains of the axes come from another layer of the chart.
    """
    drawn = png(picture, palette)
    while len(drawn) > MOST_BYTES:
        # Every second step of colour goes: a pixel stays a bin, which shows narrow edges.
        last = len(palette) - 1
        palette = [palette[min(2 * k + 1, last)] for k in range((len(palette) + 1) // 2)]
        picture = (picture + 1) // 2
        drawn = png(picture, palette)
    url = "data:image/png;base64," + base64.b64encode(drawn).decode("ascii")
    place = pl.DataFrame(
        {
            "url": [url],
            "x_low": [grid.x_low],
            "x_high": [grid.x_high],
            "y_low": [grid.y_low],
            "y_high": [grid.y_high],
        }
    )
    x = alt.X("x_low:Q") if has_axes else alt.X("x_low:Q", axis=None)
    y = alt.Y("y_low:Q") if has_axes else alt.Y("y_low:Q", axis=None)
    layer: alt.Chart = (
        alt.Chart(place)
        .mark_image(aspect=False, smooth=False, clip=True)
        .encode(x=x, x2=alt.X2("x_high:Q"), y=y, y2=alt.Y2("y_high:Q"), url=alt.Url("url:N"))
    )
    return layer


def of_bins(what: str, size: str, unit: str) -> list[str]:
    """Return the title of a legend of counts in square bins, which are of one side."""
    return [f"{what} in", f"{size} by {size} {unit}"]


def count_legend(scale: CountScale, title: str | Sequence[str]) -> alt.Chart:
    """Return an invisible layer that brings the legend of some counts."""
    ends = pl.DataFrame({"shown": [scale.low, scale.high]})
    legend: alt.Chart = (
        alt.Chart(ends)
        .mark_point(opacity=0, size=0)
        .encode(
            color=alt.Color(
                "shown:Q",
                title=title if isinstance(title, str) else list(title),
                scale=alt.Scale(
                    type=scale.kind,
                    domain=[scale.low, scale.high],
                    range=list(scale.colours),
                    # The picture's colours are mixed so, too.
                    interpolate="rgb",
                ),
                legend=alt.Legend(
                    orient="right",
                    gradientLength=180,
                    gradientOpacity=1,
                    format=",d",
                    tickCount=4,
                    values=theme.log_ticks(scale.low, scale.high)
                    if scale.kind == "log"
                    else theme.whole_ticks(scale.low, scale.high),
                ),
            )
        )
    )
    return legend


def zoom(name: str) -> alt.Parameter:
    """Return the zoom of a map: drag to move, Alt and the wheel to zoom, double click back.

    The wheel alone belongs to the page.
    """
    return alt.selection_interval(name=name, bind="scales", zoom="wheel![event.altKey]")
