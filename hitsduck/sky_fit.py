"""Whether sky positions agree with pixel positions, image by image and visit by visit.

Frames in and out.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from hitsduck.crossmatch_sky import Floats, unit_vectors

Complexes = npt.NDArray[np.complex128]
Ints = npt.NDArray[np.int64]

_ARCSEC = 3600.0 * 180.0 / np.pi
#: Two sources tell the scale where it agrees with that of the whole rerun within this
#: part; optical distortion is several times smaller (3 per cent at the worst).
_SCALE_TOLERANCE = 0.1
#: Each source is looked at with those so many places further on in its image, and with
#: the one half way round: all pairs of up to five sources, most of them far apart.
_PARTNERS = (1, 3)
#: Sources are worked on in blocks of about so many, which stay in the processor's cache.
_BLOCK = 40_000
#: The parity is clear where it leaves less than such a part of what the other one leaves.
_CLEARLY = 0.1
#: So many sources of each image, those that agree best with the others, stand for it in
#: its visit.
_STANDING_FOR_IMAGE = 3
#: Offset (arcsec) given to a position on the other side of the sky.
_FAR_ARCSEC = 1e7


def sky_offsets(sources: pl.DataFrame, *, by: Sequence[str] = ("visit", "detector")) -> pl.Series:
    """Measure how far sky positions lie from where pixel positions put them.

    Every image gets a shift, a rotation and a scale (and all images one parity) from
    pixels to the tangent plane, as medians over pairs of its sources, so that a few
    wrong positions do not matter. What is left over for a right position is the optical
    distortion within one detector, a few arcsec.

    Parameters
    ----------
    sources : polars.DataFrame
        One row per source: the columns of `by`, ``ra``, ``dec`` (deg), ``x``, ``y``
        (px).
    by : sequence of str
        Columns that tell images apart.

    Returns
    -------
    polars.Series
        For each row the offset in arcsec; NULL where it cannot be told: a position is
        missing, or no two sources of the image agree on its scale.
    """
    offsets = pl.Series("offset_arcsec", [None], dtype=pl.Float64).new_from_index(0, sources.height)
    numbered = sources.select(*by, "ra", "dec", "x", "y").with_row_index("row")
    finite = pl.all_horizontal(pl.col(name).is_finite() for name in ("ra", "dec", "x", "y"))
    kept = numbered.filter(finite & (pl.col("dec").abs() <= 90.0)).drop_nulls()
    if kept.height < 2:
        return offsets
    kept = kept.sort(*by, "row")
    image = kept.select(pl.struct(by).rle_id().alias("image"))["image"].to_numpy().astype(np.int64)
    found = _offsets(_blocks(kept, image), image.size)
    known = np.isfinite(found)
    told = pl.DataFrame(
        {"row": kept["row"].filter(pl.Series(known)), "offset_arcsec": found[known]}
    )
    return numbered.select("row").join(told, on="row", how="left", maintain_order="left")[
        "offset_arcsec"
    ]


def visit_offsets(
    sources: pl.DataFrame, of_image: pl.Series, *, farthest: float
) -> tuple[pl.Series, int]:
    """Measure how far images lie from where the other images of their visit put them.

    Every visit gets a shift, a rotation and a scale from the focal plane to the sky, to
    which no image contributes more than a few sources: a crowded image in the wrong place
    does not outvote the others.

    Parameters
    ----------
    sources : polars.DataFrame
        One row per source: ``visit``, ``detector``, ``ra``, ``dec`` (deg), and ``x``, ``y``
        (mm) in the focal plane.
    of_image : polars.Series
        What :func:`sky_offsets` says of each source in its image.
    farthest : float
        An image within that many arcsec is where it should be.

    Returns
    -------
    offset : polars.Series
        For each row the offset in arcsec: of its image (the median of the sources that
        stand for it), or its own where `of_image` is NULL. NULL where it cannot be told:
        too few images, or not more than half of the visit's images are where they should
        be.
    n_undecided : int
        Visits in which not more than half of the images are where they should be.
    """
    image = ["visit", "detector"]
    every = sources.with_row_index("row").with_columns(of_image.alias("of_image"))
    standing = every.filter(
        pl.col("of_image").is_null()
        | (pl.col("of_image").rank("ordinal").over(image) <= _STANDING_FOR_IMAGE)
    )
    standing = standing.with_columns(sky_offsets(standing, by=("visit",)).alias("offset"))
    images = standing.group_by(image).agg(pl.col("offset").median()).drop_nulls()
    is_near = pl.col("offset") <= farthest
    undecided = images.group_by("visit").agg((is_near.mean() <= 0.5).alias("is_undecided"))
    undecided = undecided.filter("is_undecided").select("visit")
    found = (
        every.select("row", *image, pl.col("of_image").is_null().alias("is_alone"))
        .join(standing.select("row", pl.col("offset").alias("own")), on="row", how="left")
        .join(images, on=image, how="left")
        .join(
            undecided.with_columns(pl.lit(value=True).alias("is_undecided")), on="visit", how="left"
        )
        .sort("row")
        .select(
            pl.when(pl.col("is_undecided").is_null()).then(
                pl.when("is_alone").then("own").otherwise("offset")
            )
        )
    )
    return found.to_series().alias("offset_arcsec"), undecided.height


@dataclass
class _Block:
    """The sources of some images, in order: small enough to be worked on in one place.

    Attributes
    ----------
    image : numpy.ndarray
        Number of each source's image, from 0 without a gap.
    sky : numpy.ndarray
        East + i north (arcsec) around the middle of the image.
    pixel : numpy.ndarray
        x + i y (px).
    ratio : numpy.ndarray
        Of every pair its separation on the sky over that in pixels, NaN where it has none.
    """

    image: Ints
    sky: Complexes
    pixel: Complexes
    ratio: Floats

    def offsets(self, scale: float, *, is_mirrored: bool) -> Floats:
        """Return each source's offset in arcsec, NaN where it cannot be told."""
        agrees = np.abs(self.ratio / scale - 1.0) < _SCALE_TOLERANCE
        first, second = (rows[agrees] for rows in _pairs(self.image))
        pixel = self.pixel.conj() if is_mirrored else self.pixel
        slope = (self.sky[first] - self.sky[second]) / (pixel[first] - pixel[second])
        left_over = self.sky - _medians(slope, self.image[first], self.image)[self.image] * pixel
        shift = _medians(left_over, self.image, self.image)
        offsets: Floats = np.abs(left_over - shift[self.image])
        return offsets


def _blocks(sources: pl.DataFrame, image: Ints) -> list[_Block]:
    """Cut sources, which are in order of their images, into blocks of whole images."""
    start = np.flatnonzero(np.diff(image, prepend=-1))
    wanted = np.searchsorted(start, np.arange(0, image.size, _BLOCK))
    cuts = np.unique(np.append(start[wanted[wanted < start.size]], image.size))
    blocks = []
    for low, high in itertools.pairwise(cuts.tolist()):
        part = sources[low:high]
        number = image[low:high] - image[low]
        sky = _tangent_plane(part["ra"].to_numpy(), part["dec"].to_numpy(), number)
        pixel = part["x"].to_numpy() + 1j * part["y"].to_numpy()
        first, second = _pairs(number)
        on_sky, in_pixels = np.abs(sky[first] - sky[second]), np.abs(pixel[first] - pixel[second])
        usable = (on_sky > 0) & (in_pixels > 0)
        nowhere = np.full(first.size, np.nan)
        ratio = np.divide(on_sky, in_pixels, out=nowhere, where=usable)
        blocks.append(_Block(number, sky, pixel, ratio))
    return blocks


def _offsets(blocks: Sequence[_Block], n_sources: int) -> Floats:
    """Return each source's offset in arcsec, NaN where it cannot be told."""
    ratio = np.concatenate([block.ratio for block in blocks])
    ratio = ratio[np.isfinite(ratio)]
    if not ratio.size:
        return np.full(n_sources, np.nan)
    scale = float(np.median(ratio, overwrite_input=True))
    # The right parity leaves next to nothing, the wrong one as much as the image is wide; of
    # many sources the first block tells which, and all of them whether it told rightly.
    by_first = [_all_offsets(blocks[:1], scale, is_mirrored=mirror) for mirror in (False, True)]
    left_over = [_middle(offsets) for offsets in by_first]
    guess = left_over[1] < left_over[0]
    offsets = _all_offsets(blocks, scale, is_mirrored=guess)
    wide = max(left_over)
    if np.isfinite(wide) and _middle(offsets) < _CLEARLY * wide:
        return offsets
    other = _all_offsets(blocks, scale, is_mirrored=not guess)
    as_is, mirrored = (other, offsets) if guess else (offsets, other)
    return mirrored if _middle(mirrored) < _middle(as_is) else as_is


def _all_offsets(blocks: Sequence[_Block], scale: float, *, is_mirrored: bool) -> Floats:
    return np.concatenate([block.offsets(scale, is_mirrored=is_mirrored) for block in blocks])


def _middle(offsets: Floats) -> float:
    """Return the median of the offsets that can be told, infinity where none can."""
    known = offsets[np.isfinite(offsets)]
    return float(np.median(known)) if known.size else np.inf


def _tangent_plane(ra_deg: Floats, dec_deg: Floats, image: Ints) -> Complexes:
    """Return east + i north (arcsec) of each source around the middle of its image."""
    xyz = unit_vectors(ra_deg, dec_deg)
    middle = np.stack([_median(axis, image) for axis in xyz])
    middle /= np.maximum(np.sqrt((middle**2).sum(axis=0)), 1e-12)
    flat = np.maximum(np.hypot(middle[0], middle[1]), 1e-12)
    east = np.stack([-middle[1] / flat, middle[0] / flat, np.zeros_like(flat)])
    north = np.cross(middle.T, east.T).T
    along = (xyz * middle[:, image]).sum(axis=0)
    offset = (xyz * east[:, image]).sum(axis=0) + 1j * (xyz * north[:, image]).sum(axis=0)
    is_near = along > 0.1
    return np.where(is_near, offset / np.where(is_near, along, 1.0) * _ARCSEC, _FAR_ARCSEC)


def _pairs(image: Ints) -> tuple[Ints, Ints]:
    """Return pairs of sources of one image; sources must be in order of images."""
    start = np.flatnonzero(np.diff(image, prepend=-1))
    count = np.diff(start, append=image.size)
    place = np.arange(image.size) - start[image]
    size = count[image]
    pairs = []
    for step in (*_PARTNERS, None):
        ahead = np.full(image.size, step) if step is not None else size // 2
        has_partner = np.flatnonzero((ahead > 0) & (ahead < size))
        partner = (place + ahead) % np.maximum(size, 1) + start[image]
        pairs.append((has_partner, partner[has_partner]))
    first = np.concatenate([pair[0] for pair in pairs])
    second = np.concatenate([pair[1] for pair in pairs])
    return first, second


def _medians(values: Complexes, group: Ints, image: Ints) -> Complexes:
    """Return the median of both parts for each of the images; NaN where there are no values."""
    medians = np.full(int(image[-1]) + 1, np.nan + 0j)
    frame = pl.DataFrame({"group": group, "real": values.real, "imag": values.imag})
    found = frame.group_by("group").agg(pl.col("real", "imag").median())
    medians[found["group"].to_numpy()] = found["real"].to_numpy() + 1j * found["imag"].to_numpy()
    return medians


def _median(values: Floats, group: Ints) -> Floats:
    """Return the median of each group; groups are numbered 0 to k - 1 without a gap."""
    frame = pl.DataFrame({"group": group, "value": values})
    found: Floats = (
        frame.group_by("group").agg(pl.col("value").median()).sort("group")["value"].to_numpy()
    )
    return found
