from __future__ import annotations


def test_recorded_images_pass_through_in_any_generation(opened):
    reruns = opened(generation="2020", summary=[{"visit": 410985, "detector": 5, "seeing": 1.25}])
    rows = reruns.sql("select rerun, visit, detector, seeing from processing_summary").rows()
    assert rows == [{"rerun": "a", "visit": 410985, "detector": 5, "seeing": 1.25}]


def test_without_the_table_there_is_no_row(opened):
    assert opened().sql("select * from processing_summary").rows() == []
