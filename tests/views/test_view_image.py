from __future__ import annotations

import pytest

from hitsduck.errors import InstrumentError

PAIRS = "DiaSource and DiaForcedSource"
RECORDED = "DetectorVisitProcessingSummary"


def rows(reruns) -> list[tuple]:
    found = reruns.sql("select visit, detector, image_source from image order by 1, 2").rows()
    return [tuple(row.values()) for row in found]


def test_images_are_the_pairs_with_a_source_good_or_not_or_a_forced_source(opened, source):
    reruns = opened(
        sources=[
            source(visit=1, detector=5),
            source(visit=1, detector=5),
            source(visit=1, detector=6, pixelFlags_bad=True),
        ],
        forced=[
            {"diaObjectId": 1, "visit": 1, "detector": 5},
            {"diaObjectId": 1, "visit": 2, "detector": 5},
        ],
    )
    assert rows(reruns) == [(1, 5, PAIRS), (1, 6, PAIRS), (2, 5, PAIRS)]


def test_recorded_images_go_before_the_pairs(opened, source):
    reruns = opened(
        sources=[source(visit=1, detector=5), source(visit=9, detector=9)],
        forced=[{"diaObjectId": 1, "visit": 2, "detector": 5}],
        summary=[{"visit": 1, "detector": 5}, {"visit": 1, "detector": 7}],
    )
    assert rows(reruns) == [(1, 5, RECORDED), (1, 7, RECORDED)]


def test_an_empty_record_leaves_the_pairs(opened, source):
    reruns = opened(sources=[source(visit=1, detector=5)], summary=[])
    assert rows(reruns) == [(1, 5, PAIRS)]


def test_old_ids_give_the_same_pairs(opened, source):
    reruns = opened(
        generation="2020",
        sources=[source(visit=1, detector=5)],
        forced=[{"diaObjectId": 1, "visit": 2, "detector": 62}],
    )
    assert rows(reruns) == [(1, 5, PAIRS), (2, 62, PAIRS)]


def test_a_source_without_visit_is_on_no_image(opened, source):
    reruns = opened(
        generation="2023", constraints=False, sources=[source(ccdVisitId=None), source()]
    )
    assert rows(reruns) == [(410985, 5, PAIRS)]


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"forced": [{"diaObjectId": 1, "visit": 2, "detector": 63}]}, "DiaForcedSource"),
        ({"summary": [{"visit": 2, "detector": 63}]}, "DetectorVisitProcessingSummary"),
    ],
)
def test_an_image_of_a_detector_that_the_camera_lacks_is_an_error(opened, source, given, told):
    reruns = opened(sources=[source()], **given)
    assert reruns.counts().rows()[0]["n_dia_sources"] == 1
    # DECam ends at 62; without an area the density of visit 2 would be wrong without a word.
    with pytest.raises(InstrumentError, match="DECam has no detector 63") as raised:
        reruns.sql("select visit, density_deg2 from visit_summary")
    assert "visit 2" in str(raised.value)
    assert told in str(raised.value)
