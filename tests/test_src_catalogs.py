"""Rows of calexp catalogues: astropy writes them, and reads them for the truth."""

from __future__ import annotations

import os
import shutil
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from apdb_files import make_apdb
from astropy.io import fits

import hitsduck
from hitsduck.errors import QueryError, SameFileWarning
from hitsduck.simulator import simulate
from hitsduck.src_catalogs import count_src_files, read_src_file

#: The three images that the notebook looked at.
SEED_IMAGES = [(410985, 47), (410987, 51), (421590, 4)]


def path_of(folder: Path, visit: int, ccd: int) -> Path:
    return folder / f"{visit:07d}" / "src" / f"src-{visit:07d}_{ccd:02d}.fits"


def write(folder: Path, visit: int, ccd: int, n_rows: int) -> Path:
    path = path_of(folder, visit, ccd)
    path.parent.mkdir(parents=True, exist_ok=True)
    column = fits.Column("id", "K", array=np.arange(n_rows))
    fits.HDUList([fits.PrimaryHDU(), fits.BinTableHDU.from_columns([column])]).writeto(path)
    return path


def test_counts_stand_side_by_side_with_the_file_of_each(tmp_path: Path):
    old, new = tmp_path / "old", tmp_path / "new"
    for folder, rows in ((old, 2251), (new, 2260)):
        write(folder, 410985, 47, rows)
        write(folder, 421590, 4, 0)
    write(new, 7, 123, 5)  # three digits where two are not enough
    found = count_src_files({"old": old, "new": new})
    rows = found.rows()
    assert [(row["visit"], row["detector"]) for row in rows] == [
        (7, 123),
        (410985, 47),
        (421590, 4),
    ]
    assert [row["n_rows"] for row in rows] == [
        {"old": None, "new": 5},
        {"old": 2251, "new": 2260},
        {"old": 0, "new": 0},
    ]
    assert [row["difference"] for row in rows] == [{"new": None}, {"new": 9}, {"new": 0}]
    assert rows[0]["status"] == {"old": "missing", "new": "ok"}
    assert rows[1]["path"] == {
        name: str(path_of(folder, 410985, 47)) for name, folder in (("old", old), ("new", new))
    }
    assert not any(row["same_file"] for row in rows)
    assert [row["visit"] for row in found.changed()] == [7, 410985]
    assert found.verdict() == (
        "1 of 2 src catalogues have the same number of rows; 1 more are missing or damaged in a "
        "rerun"
    )
    long = found.polars()
    assert long.height == 6
    assert long.filter(visit=410985)["difference"].to_list() == [0, 9]


def test_images_can_be_named_whether_they_are_there_or_not(tmp_path: Path):
    write(tmp_path / "old", 410985, 47, 3)
    found = count_src_files({"old": tmp_path / "old"}, images=SEED_IMAGES)
    assert [row["status"]["old"] for row in found.rows()] == ["ok", "missing", "missing"]
    assert found.rows()[1]["path"]["old"].endswith("0410987/src/src-0410987_51.fits")


@pytest.mark.parametrize(
    ("images", "words"),
    [
        ([], "the list of images is empty; give pairs of visit and detector"),
        ((410985, 47), r"images is \(410985, 47\); give pairs"),
        ([(410985, 47.5)], "47.5"),
        ([(410985,)], r"images=\[\(410985, 47\)\]"),
    ],
)
def test_images_that_are_no_pairs_are_refused(tmp_path: Path, images: Any, words: str):
    with pytest.raises(QueryError, match=words):
        count_src_files({"old": tmp_path}, images=images)


@pytest.mark.parametrize("how", ["path", "hard link", "soft link", "linked folder"])
def test_one_file_under_two_names_is_a_warning_and_no_error(tmp_path: Path, how: str):
    old, new = tmp_path / "old", tmp_path / "new"
    path = write(old, 410985, 47, 10)
    target = path_of(new, 410985, 47)
    if how == "path":
        new = old
    elif how == "linked folder":
        new.symlink_to(old)
    else:
        target.parent.mkdir(parents=True)
        os.link(path, target) if how == "hard link" else target.symlink_to(path)
    with pytest.warns(SameFileWarning, match="1 of 1 src catalogues are the same file"):
        found = count_src_files({"old": old, "new": new})
    (row,) = found.rows()
    assert row["same_file"] is True
    assert row["n_rows"] == {"old": 10, "new": 10}
    assert found.verdict().endswith("1 are the same file under several names")


def test_equal_copies_are_not_the_same_file(tmp_path: Path):
    write(tmp_path / "old", 410985, 47, 10)
    shutil.copytree(tmp_path / "old", tmp_path / "new")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = count_src_files({"old": tmp_path / "old", "new": tmp_path / "new"})
    assert found.rows()[0]["same_file"] is False


DAMAGE = {
    "cut off in the table": lambda data: data[:-2880],
    "cut off in the header": lambda data: data[:4000],
    "without a table": lambda data: data[:2880],
    "empty": lambda data: b"",
    "something else": lambda data: b"<html>" * 2000,
    "an image": lambda data: data.replace(b"'BINTABLE'", b"'IMAGE   '"),
    "a count that is none": lambda data: data.replace(
        b"NAXIS2  =                 1000", b"NAXIS2  =                 'ab'"
    ),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_a_damaged_catalogue_is_reported_and_the_others_are_counted(tmp_path: Path, kind: str):
    path = write(tmp_path / "old", 1, 1, 1000)
    write(tmp_path / "old", 2, 2, 20)
    path.write_bytes(DAMAGE[kind](path.read_bytes()))
    found = count_src_files({"old": tmp_path / "old"})
    damaged, fine = found.rows()
    assert (damaged["status"]["old"], damaged["n_rows"]["old"]) == ("damaged", None)
    assert damaged["problem"]["old"]
    assert fine["n_rows"] == {"old": 20}
    assert found.verdict().startswith("1 src catalogue with 20 rows")


def test_a_folder_or_an_unreadable_file_is_damaged(tmp_path: Path):
    path_of(tmp_path, 1, 1).mkdir(parents=True)
    assert read_src_file(path_of(tmp_path, 1, 1)).status == "damaged"
    assert read_src_file(tmp_path / "nothing.fits").status == "missing"


def test_files_that_are_called_otherwise_are_left_alone(tmp_path: Path):
    folder = tmp_path / "old"
    path = write(folder, 410985, 47, 1)
    shutil.copy(path, path.with_name("src-0410985_47.fits.bak"))
    shutil.copy(path, path.with_name("src-0410986_47.fits"))  # the folder is another visit's
    shutil.copy(path, path.with_name("src-410985_47.fits"))
    assert list(count_src_files({"old": folder}).files) == [(410985, 47)]


@pytest.fixture(scope="module")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[hitsduck.Reruns]:
    result = simulate(tmp_path_factory.mktemp("src"), preset="small", reruns=["Apr2020", "Jun2020"])
    with hitsduck.open_reruns(result.paths) as reruns:
        yield reruns


def test_the_question_of_the_notebook_is_answered_for_its_three_images(
    simulated: hitsduck.Reruns,
):
    found = simulated.src_counts()
    assert [(row["visit"], row["detector"]) for row in found.rows()] == SEED_IMAGES
    for row in found.rows():
        for name, path in row["path"].items():
            assert row["n_rows"][name] == fits.getheader(path, 1)["NAXIS2"]
            assert f"/{name}/" in path  # each number from its own rerun
        assert row["difference"] == {"Jun2020": 0}
    assert found.verdict() == "3 of 3 src catalogues have the same number of rows"


def test_a_planted_change_in_one_of_them_is_found(simulated: hitsduck.Reruns):
    path = Path(simulated.src_counts().rows()[1]["path"]["Jun2020"])
    kept = path.read_bytes()
    with fits.open(path) as hdus:
        fits.BinTableHDU(hdus[1].data[:-3], hdus[1].header).writeto(path, overwrite=True)
    try:
        (changed,) = simulated.src_counts().changed()
    finally:
        path.write_bytes(kept)
    assert (changed["visit"], changed["detector"]) == SEED_IMAGES[1]
    assert changed["difference"] == {"Jun2020": -3}


def test_the_folder_below_is_used_where_the_apdb_lies_above_the_rerun(tmp_path: Path):
    apdb = make_apdb(tmp_path / "run" / "association.db")
    write(tmp_path / "run" / "output", 1, 2, 30)
    with hitsduck.open_reruns({"a": apdb}, instrument="DECam") as reruns:
        assert reruns.src_counts().rows()[0]["n_rows"] == {"a": 30}


def test_of_one_rerun_the_counts_alone_are_told(tmp_path: Path):
    apdb = make_apdb(tmp_path / "run" / "association.db")
    write(apdb.parent, 1, 2, 1200)
    write(apdb.parent, 1, 3, 34)
    with hitsduck.open_reruns({"a": apdb}, instrument="DECam") as reruns:
        assert reruns.src_counts().verdict() == "2 src catalogues with 1,234 rows in all"
        path_of(apdb.parent, 1, 3).write_bytes(b"no FITS")
        assert reruns.src_counts().verdict() == (
            "1 src catalogue with 1,200 rows in all; missing or damaged: 1"
        )


def test_no_catalogue_at_all_is_said_with_the_folders(tmp_path: Path):
    apdb = make_apdb(tmp_path / "association.db")
    with hitsduck.open_reruns({"a": apdb}, instrument="DECam") as reruns:
        found = reruns.src_counts()
    assert found.rows() == []
    assert found.polars().is_empty()
    assert str(tmp_path) in found.verdict()
