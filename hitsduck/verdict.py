"""What a change in the number of sources is made of, in one line."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

#: A share of the change beyond this says less than the counts do.
_LARGEST_SHARE = 2.0


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

    def parts(self) -> dict[str, int]:
        """Return the parts that are not 0, in the words of the verdict."""
        named = {
            "not detected before" if self.detection > 0 else "no longer detected": self.detection,
            "reflagged": self.reflagged,
            "coverage": self.coverage,
            "without a usable position": self.unusable,
            "matched more than once": self.pairing,
        }
        return {words: number for words, number in named.items() if number}


def verdict(
    summary: Mapping[str, Any], change: Decomposition, edge: Mapping[str, Any] | None = None
) -> str:
    """Say in one line what changed, and what the change is made of.

    Parameters
    ----------
    summary : mapping
        As `Comparison.summary` gives it.
    change : Decomposition
    edge : mapping, optional
        The keys ``within_px``, ``share_of_increase``, ``share_of_new``,
        ``area_share`` of an edge excess.

    Returns
    -------
    str
        The parts as percentages of the net change; rounded so that they add up to
        100. As counts where a part is more than twice the net change.

    Examples
    --------
    >>> counts = {"n_left": 210712, "n_right": 229290, "n_left_only": 1422, "good": True}
    >>> change = Decomposition(18578, 13190, 3716, 1672, 0, 0)
    >>> verdict(counts | {"n_right_only": 20000}, change)
    '+18,578 good sources (+8.8%): 71% not detected before, 20% reflagged, 9% coverage'
    """
    kind = "good sources" if summary["good"] else "sources"
    line = _change(summary, change, kind)
    if summary.get("same_file"):
        line += "; both names are the same file"
    if edge is not None:
        line += _at_the_edge(edge)
    return line


def _change(summary: Mapping[str, Any], change: Decomposition, kind: str) -> str:
    new, gone = summary["n_right_only"], summary["n_left_only"]
    parts = change.parts()
    if not change.net:
        line = f"no net change in {kind} ({summary['n_right']:,})"
        if not new and not gone:
            return f"{line}: nothing new, nothing gone"
        return f"{line}: {new:,} new, {gone:,} gone" + (f": {_counts(parts)}" if parts else "")
    n_left = summary["n_left"]
    percent = f" ({change.net / n_left:+.1%})" if n_left else ""
    is_telling = all(abs(number) <= _LARGEST_SHARE * abs(change.net) for number in parts.values())
    made_of = _shares(parts, change.net) if is_telling else _counts(parts)
    return f"{change.net:+,} {kind}{percent}: {made_of}"


def _counts(parts: Mapping[str, int]) -> str:
    return ", ".join(f"{number:+,} {words}" for words, number in parts.items())


def _shares(parts: Mapping[str, int], net: int) -> str:
    """Return whole percentages that add up to 100 (largest remainders rounded up)."""
    whole = {words: 100 * number // net for words, number in parts.items()}
    remainder = {words: 100 * parts[words] - whole[words] * net for words in parts}
    by_remainder = sorted(parts, key=lambda words: -abs(remainder[words]))
    for words in by_remainder[: 100 - sum(whole.values())]:
        whole[words] += 1
    return ", ".join(f"{share}% {words}" for words, share in whole.items() if share)


def _at_the_edge(edge: Mapping[str, Any]) -> str:
    share, of_what = edge["share_of_increase"], ""
    if share is None:
        share, of_what = edge["share_of_new"], " of the new ones"
    if share is None:
        return ""
    return (
        f"; {share:.0%}{of_what} within {edge['within_px']:g} px of an edge "
        f"({edge['area_share']:.1%} of the area)"
    )
