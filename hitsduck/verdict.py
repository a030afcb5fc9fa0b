"""What a change in the number of sources is made of, in one line."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import polars as pl

from hitsduck.results import frame_html

_ABSENT = {"right": "not detected before", "left": "no longer detected"}


@dataclass(frozen=True)
class Decomposition:
    """The net change ``n_right - n_left``, and five parts that add up to it.

    Each part is the number of sources that only the right rerun has, less that of
    those that only the left one has:

    net = detection + reflagged + coverage + unusable + pairing

    Attributes
    ----------
    coverage : int
        On images that only one of the reruns has.
    reflagged : int
        On images of both: the other rerun has the source, but not as a good one.
    unusable : int
        On images of both, or on none: without a position, so never matched.
    detection : int
        On images of both: the other rerun has nothing there. Here lie the sources
        that are newly detected or no longer detected.
    pairing : int
        ``(n_right - n_right_only) - (n_left - n_left_only)``: matched sources of the
        right less those of the left. 0 with ``mutual``, where they go in pairs.
    """

    net: int
    detection: int
    reflagged: int
    coverage: int
    unusable: int
    pairing: int

    @classmethod
    def of(cls, summary: Mapping[str, Any], unusable: int = 0) -> Decomposition:
        """Take a comparison's summary apart.

        Parameters
        ----------
        summary : mapping
            As `Comparison.summary` gives it.
        unusable : int
            Unmatched sources without a position that lie on no image that only one
            rerun has: those of the right less those of the left.
        """
        net = summary["n_right"] - summary["n_left"]
        only = summary["n_right_only"] - summary["n_left_only"]
        coverage = summary["coverage"]
        uncovered = coverage["n_sources_right_only"] - coverage["n_sources_left_only"]
        reflagged = summary["n_right_only_reflagged"] - summary["n_left_only_reflagged"]
        return cls(
            net=net,
            detection=only - reflagged - uncovered - unusable,
            reflagged=reflagged,
            coverage=uncovered,
            unusable=unusable,
            pairing=net - only,
        )

    def _repr_html_(self) -> str:
        parts = [name for name in vars(self) if name != "net"]
        table = pl.DataFrame(
            {
                "part of the change": [*parts, "net"],
                "sources": [f"{getattr(self, name):+,}" for name in (*parts, "net")],
            }
        )
        return frame_html(table)


def unmatched_parts(summary: Mapping[str, Any], side: str, unusable: int = 0) -> dict[str, int]:
    """Take apart the sources that only one rerun has, in the words of the verdict.

    Parameters
    ----------
    summary : mapping
        As `Comparison.summary` gives it.
    side : {"left", "right"}
        Whose: ``right`` are the new ones, ``left`` those that are gone.
    unusable : int
        Those without a position that lie on no image that only this rerun has.

    Returns
    -------
    dict of str to int
        The parts that are not 0; they add up to ``n_left_only`` or ``n_right_only``.
    """
    reflagged = summary[f"n_{side}_only_reflagged"]
    coverage = summary["coverage"][f"n_sources_{side}_only"]
    parts = {
        _ABSENT[side]: summary[f"n_{side}_only"] - reflagged - coverage - unusable,
        "reflagged": reflagged,
        "coverage": coverage,
        "without a usable position": unusable,
    }
    return {words: number for words, number in parts.items() if number}


def verdict(
    summary: Mapping[str, Any],
    edge: Mapping[str, Any] | None = None,
    *,
    unusable: Mapping[str, int] | None = None,
    shares_images: bool = True,
) -> str:
    """Say in one line what changed, and what the change is made of.

    Parameters
    ----------
    summary : mapping
        As `Comparison.summary` gives it.
    edge : mapping, optional
        The keys ``within_px``, ``share_of_increase``, ``share_of_new``, ``n_new``,
        ``area_share`` of an edge excess.
    unusable : mapping, optional
        ``left`` and ``right``: as for :func:`unmatched_parts`.
    shares_images : bool
        Whether any image is in both reruns.

    Returns
    -------
    str
        The net change, and how many sources are new and gone. The percentages are those
        of the new ones, or where the number fell of those that are gone: parts of a
        whole, rounded so that they add up to 100. The share at the edge is that of the
        increase where there is one and it is a part of it (between 0 and 1), else that of
        the sources not detected before, with their number; without any nothing is said.

    Examples
    --------
    >>> counts = {"n_left": 210712, "n_right": 229290, "good": True,
    ...     "n_right_only": 20451, "n_right_only_reflagged": 4090,
    ...     "n_left_only": 1873, "n_left_only_reflagged": 0,
    ...     "coverage": {"n_sources_left_only": 0, "n_sources_right_only": 1841}}
    >>> verdict(counts)  # doctest: +NORMALIZE_WHITESPACE
    '+18,578 good sources (+8.8%): 20,451 new, 1,873 gone; of the new 71% not detected
    before, 20% reflagged, 9% coverage'
    """
    kind = "good sources" if summary["good"] else "sources"
    line = _change(summary, unusable or {}, kind, shares_images)
    if summary.get("same_file"):
        line += "; both names are the same file"
    if edge is not None and _has_matched(summary):
        line += _at_the_edge(edge, summary["coverage"])
    return line


def _change(
    summary: Mapping[str, Any], unusable: Mapping[str, int], kind: str, shares_images: bool
) -> str:
    n_left, n_right = summary["n_left"], summary["n_right"]
    net = n_right - n_left
    # Whether a source without a position is new cannot be told: it is neither new nor gone.
    untold = {side: unusable.get(side, 0) for side in ("left", "right")}
    only = {side: summary[f"n_{side}_only"] - untold[side] for side in untold}
    new, gone = only["right"], only["left"]
    if net:
        percent = f" ({net / n_left:+.1%})" if n_left else ""
        line = f"{net:+,} {kind}{percent}: "
    else:
        line = f"no net change in {kind} ({n_right:,}): "
    line += f"{new:,} new, " if new else "nothing new, "
    line += f"{gone:,} gone" if gone else "nothing gone"
    if any(untold.values()):
        line += f"; {untold['left']:,} and {untold['right']:,} without a usable position"
    paired = {"left": n_left - summary["n_left_only"], "right": n_right - summary["n_right_only"]}
    if paired["left"] != paired["right"]:
        line += (
            f"; {paired['left']:,} matched with {paired['right']:,}, some of them more than once"
        )
    if not shares_images and (new or gone):
        return f"{line}; the reruns share no image"
    if n_left and n_right and not _has_matched(summary):
        return f"{line}; nothing matched: are these the same images?"
    side, words = ("left", "gone") if (net < 0 and gone) or not new else ("right", "new")
    parts = unmatched_parts({**summary, f"n_{side}_only": only[side]}, side)
    return f"{line}; of the {words} {_shares(parts)}" if parts else line


def _has_matched(summary: Mapping[str, Any]) -> bool:
    return bool(summary["n_left"] > summary["n_left_only"])


def _shares(parts: Mapping[str, int]) -> str:
    """Return whole percentages that add up to 100 (largest remainders rounded up)."""
    total = sum(parts.values())
    whole = {words: 100 * number // total for words, number in parts.items()}
    by_remainder = sorted(parts, key=lambda words: -(100 * parts[words] % total))
    for words in by_remainder[: 100 - sum(whole.values())]:
        whole[words] += 1
    return ", ".join(f"{share}% {words}" for words, share in whole.items() if share)


def _at_the_edge(edge: Mapping[str, Any], coverage: Mapping[str, int]) -> str:
    share, of_what = edge["share_of_increase"], "the increase"
    if any(coverage.values()):
        of_what += " on shared images"
    if share is None or not 0 <= share <= 1:
        share, of_what = edge["share_of_new"], f"the {edge['n_new']:,} not detected before"
    if share is None:
        return ""
    return (
        f"; {share:.0%} of {of_what} within {edge['within_px']:g} px of an edge "
        f"({edge['area_share']:.1%} of the area)"
    )
