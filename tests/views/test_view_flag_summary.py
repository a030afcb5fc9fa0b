from __future__ import annotations

import pytest

from hitsduck import schema


def by_flag(reruns) -> dict[str, dict]:
    return {row["flag"]: row for row in reruns.sql("select * from flag_summary").rows()}


def test_every_flag_is_counted_with_its_nulls(opened, source):
    reruns = opened(
        sources=[
            source(pixelFlags_bad=True, pixelFlags_edge=True),
            source(pixelFlags_bad=True, pixelFlags_edge=None),
            source(pixelFlags_bad=False),
            source(),
        ]
    )
    found = by_flag(reruns)
    assert set(found) == set(schema.flag_names())
    assert found["pixelFlags_bad"] == {
        "rerun": "a",
        "flag": "pixelFlags_bad",
        "is_bad": True,
        "is_in_file": True,
        "n_dia_sources": 4,
        "n_set": 2,
        "n_null": 0,
        "fraction_set": 0.5,
    }
    assert found["pixelFlags_edge"] == {
        "rerun": "a",
        "flag": "pixelFlags_edge",
        "is_bad": False,
        "is_in_file": True,
        "n_dia_sources": 4,
        "n_set": 1,
        "n_null": 1,
        "fraction_set": 0.25,
    }


@pytest.mark.parametrize(("generation", "era"), [("2020", "2019"), ("0.1.1", "2023")])
def test_each_packed_bit_counts_for_its_own_flag(opened, source, generation, era):
    # Bit k is set in k + 1 sources, so that no two flags have the same count.
    bits = schema.flag_bits(era)
    n_of = {flag: mask.bit_length() for flag, mask in bits.items()}
    rows = [
        source(flags=sum(bits[flag] for flag in bits if n_of[flag] > number))
        for number in range(max(n_of.values()))
    ]
    found = by_flag(opened(generation=generation, sources=rows))
    assert {flag: row["n_set"] for flag, row in found.items() if row["is_in_file"]} == n_of
    absent = [row for row in found.values() if not row["is_in_file"]]
    assert absent
    assert all((row["n_set"], row["n_null"]) == (0, len(rows)) for row in absent)


def test_the_bad_flags_are_those_of_the_opened_set(opened, source):
    found = by_flag(opened(sources=[source()], bad_flags="analysis_ap"))
    assert {flag for flag, row in found.items() if row["is_bad"]} == set(
        schema.FLAG_SETS["analysis_ap"]
    )


def test_an_empty_file_has_every_flag_with_no_fraction(opened):
    found = by_flag(opened())
    assert set(found) == set(schema.flag_names())
    for row in found.values():
        assert (row["n_dia_sources"], row["n_set"], row["n_null"]) == (0, 0, 0)
        assert row["fraction_set"] is None
