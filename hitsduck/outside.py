"""Outside catalogues: which of their rows each rerun recovered, and which it missed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import polars as pl

from hitsduck.crossmatch import match_sky
from hitsduck.errors import MatchError
from hitsduck.limits import shown
from hitsduck.listing import checked_columns
from hitsduck.outside_tables import Positions, read_positions
from hitsduck.results import frame_html

if TYPE_CHECKING:
    from hitsduck.reruns import Reruns

Of = Literal["objects", "sources"]

#: How far the nearest object and source of a missed row are looked for.
NEAREST_WITHIN_ARCSEC = 3600.0
#: Of the result, beside the catalogue's.
_OWN_COLUMNS = frozenset(
    {
        "rerun",
        "is_recovered",
        "diaObjectId",
        "object_sep_arcsec",
        "diaSourceId",
        "source_sep_arcsec",
    }
)
_KINDS = {"objects": "diaObjectId", "sources": "diaSourceId"}


@dataclass(frozen=True, eq=False)
class CatalogMatch:
    """A catalogue matched with every rerun.

    Attributes
    ----------
    catalog : Positions
        What was matched, and from which columns.
    radius_arcsec : float
    of : str
        ``objects`` or ``sources``: what a row must have nearby to be recovered.
    good : bool
        Only good ones count.
    table : polars.DataFrame
        One row per rerun and row of the catalogue, in the order of both: ``rerun``,
        ``catalog_row``, ``catalog_ra_deg``, ``catalog_dec_deg``, the columns kept,
        ``is_recovered`` (one lies within the radius, inclusive; NULL where the row has
        no usable position), ``diaObjectId`` and ``object_sep_arcsec`` (nearest
        object), ``diaSourceId`` and ``source_sep_arcsec`` (nearest source), NULL where
        there is none within a degree.
    reruns : tuple of str
        Names, in the order of opening.
    """

    catalog: Positions
    radius_arcsec: float
    of: Of
    good: bool
    table: pl.DataFrame
    reruns: tuple[str, ...]

    def recovered(self, rerun: str) -> pl.DataFrame:
        """Return the rows of `table` that one rerun recovered."""
        return self._of(rerun).filter("is_recovered")

    def missed(self, rerun: str) -> pl.DataFrame:
        """Return the rows of `table` that one rerun missed, farthest first."""
        separation = "object_sep_arcsec" if self.of == "objects" else "source_sep_arcsec"
        missed = self._of(rerun).filter(~pl.col("is_recovered"))
        return missed.sort(separation, descending=True, maintain_order=True)

    def _of(self, rerun: str) -> pl.DataFrame:
        if rerun not in self.reruns:
            raise MatchError(f"no rerun {rerun!r} was matched; there are: {', '.join(self.reruns)}")
        return self.table.filter(pl.col("rerun") == rerun)

    def summary(self) -> list[dict[str, Any]]:
        """Count by rerun.

        Returns
        -------
        list of dict
            One per rerun: ``rerun``, ``n_catalog`` (rows), ``n_recovered``,
            ``n_missed``, ``n_unusable`` (rows without a usable position).
        """
        counted = self.table.group_by("rerun", maintain_order=True).agg(
            pl.len().alias("n_catalog"),
            pl.col("is_recovered").sum().alias("n_recovered"),
            (~pl.col("is_recovered")).sum().alias("n_missed"),
            pl.col("is_recovered").is_null().sum().alias("n_unusable"),
        )
        names = pl.DataFrame({"rerun": self.reruns}, schema={"rerun": pl.String})
        every = names.join(counted, on="rerun", how="left", maintain_order="left")
        return every.fill_null(0).to_dicts()

    def side_by_side(self) -> pl.DataFrame:
        """Put the reruns side by side.

        Returns
        -------
        polars.DataFrame
            One row per row of the catalogue: its position and columns kept, and for
            each rerun, under its name, whether it recovered the row.
        """
        wide = self.catalog.frame
        for name in self.table["rerun"].unique(maintain_order=True).to_list():
            wide = wide.with_columns(self._of(name)["is_recovered"].alias(name))
        return wide

    def __repr__(self) -> str:
        """Return the counts in one line."""
        counts = ", ".join(
            f"{row['rerun']} {row['n_recovered']} of {row['n_catalog']}" for row in self.summary()
        )
        return f"<CatalogMatch of {self.catalog.name} within {self.radius_arcsec} arcsec: {counts}>"

    def _repr_html_(self) -> str:
        caption = f"{self.catalog.name}, matched within {self.radius_arcsec:g} arcsec"
        return frame_html(pl.DataFrame(self.summary()), caption)


def match_catalog(
    reruns: Reruns,
    table: Any,
    *,
    ra: str | None = None,
    dec: str | None = None,
    radius_arcsec: float = 1.0,
    unit: str | tuple[str, str] | None = None,
    of: Of = "objects",
    good: bool = True,
    keep: Sequence[str] = (),
    where: str | None = None,
) -> CatalogMatch:
    """Match a catalogue from elsewhere with every rerun.

    Parameters
    ----------
    reruns : Reruns
    table, ra, dec, unit, keep
        As for `hitsduck.outside_tables.read_positions`: a file (FITS, VOTable, ECSV,
        CSV, Parquet), an astropy Table or a frame; its columns of position, guessed
        where neither is given; their unit; further columns to carry along.
    radius_arcsec : float
        A row is recovered by an object (or source) within this separation, inclusive.
    of : {"objects", "sources"}
        What it is matched with.
    good : bool
        Only good sources, and objects with at least one.
    where : str, optional
        One expression on ``dia_source``: only such sources, and objects with one.

    Returns
    -------
    CatalogMatch
        A missed row may lie where the rerun has no image: the separations of the
        nearest object and source show it.

    Raises
    ------
    MatchError
        The table cannot be read, or holds no such columns.
    """
    if of not in tuple(_KINDS):
        raise MatchError(f"of is {shown(of)}; it is one of {', '.join(_KINDS)}")
    kept = tuple(dict.fromkeys(checked_columns(keep, "keep")))
    catalog = read_positions(table, ra=ra, dec=dec, unit=unit, keep=kept)
    own = sorted(_OWN_COLUMNS & set(catalog.frame.columns))
    if own:
        raise MatchError(
            f"column {', '.join(own)} of the catalogue cannot be kept: the result has its own of "
            "this name; rename it in the catalogue"
        )
    parts = []
    for name in reruns:
        nearest = {}
        for kind, key in _KINDS.items():
            asked = (key, "ra", "dec")
            rerun = reruns[name]
            rows = (
                rerun.objects(asked, good=good, where=where)
                if kind == "objects"
                else rerun.sources(asked, good=good, where=where)
            )
            nearest[kind] = _nearest(catalog.frame, rows.polars(), key, radius_arcsec)
        within = nearest[of]["is_within"]
        usable = nearest[of]["is_usable"]
        parts.append(
            catalog.frame.select(
                pl.lit(name).alias("rerun"),
                pl.all(),
                pl.Series("is_recovered", within).set(~usable, None),
                nearest["objects"]["id"].alias("diaObjectId"),
                nearest["objects"]["sep_arcsec"].alias("object_sep_arcsec"),
                nearest["sources"]["id"].alias("diaSourceId"),
                nearest["sources"]["sep_arcsec"].alias("source_sep_arcsec"),
            )
        )
    return CatalogMatch(catalog, radius_arcsec, of, good, pl.concat(parts), tuple(reruns))


def _nearest(
    catalog: pl.DataFrame, rows: pl.DataFrame, key: str, radius_arcsec: float
) -> pl.DataFrame:
    """Return the nearest of `rows` for each row of the catalogue, and if it is near enough."""
    position = catalog.select(
        pl.col("catalog_ra_deg").alias("ra"), pl.col("catalog_dec_deg").alias("dec")
    )
    is_usable = position.select(
        (pl.col("ra").is_finite() & (pl.col("dec").abs() <= 90.0)).fill_null(False)
    ).to_series()
    near = _best(position, rows, key, radius_arcsec)
    every = pl.DataFrame({"row": pl.arange(catalog.height, dtype=pl.UInt32, eager=True)})
    missed = every.join(near, on="row", how="anti", maintain_order="left")["row"]
    far = _best(position[missed], rows, key, NEAREST_WITHIN_ARCSEC)
    far = far.with_columns(missed.gather(far["row"]).alias("row"))
    found = pl.concat(
        [near.with_columns(is_within=pl.lit(True)), far.with_columns(is_within=pl.lit(False))]
    )
    joined = every.join(found, on="row", how="left", maintain_order="left")
    return joined.with_columns(pl.col("is_within").fill_null(False), is_usable.alias("is_usable"))


def _best(
    position: pl.DataFrame, rows: pl.DataFrame, key: str, radius_arcsec: float
) -> pl.DataFrame:
    """Return the nearest of `rows` within a radius: ``row``, ``id``, ``sep_arcsec``."""
    pairs = match_sky(
        position, rows, radius_arcsec=radius_arcsec, how="best1", left_id=None, right_id=key
    ).pairs
    return pl.DataFrame(
        {
            "row": pairs["left_index"],
            "id": rows[key].gather(pairs["right_index"]),
            "sep_arcsec": pairs["sep_arcsec"],
        }
    )
