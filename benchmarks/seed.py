"""The seed analysis' own way, as far as its races need it: code for processes of their own.

What its helper modules do, read from lsst-dm/ap_pipe-notebooks as of mid-2020 (``loadTables``,
``addVisitCcdToSrcTable``, ``makeSrcTableFlags``, ``plotDiaSourcesInFocalPlane``,
``plotDiaSourceDensityInFocalPlane``, ``plotDiaSourcesOnSkyGrid``) and written anew: 18 columns
and the flags in one pandas frame, visit and ccd cut from the id as text, and one row after the
other into the focal plane. There a transformation of the LSST stack places each source; here
it is the plain arithmetic, which takes less. Drawing is left out.
"""

from __future__ import annotations

#: Defines ``chips``, read from the camera's CSV in ``camera_file``.
CHIPS = """
with open(camera_file) as file:
    chips = {int(row["detector"]): {k: float(row[k]) for k in (
        "pixel_size_x_mm", "pixel_size_y_mm", "ref_x_px", "ref_y_px", "offset_x_mm",
        "offset_y_mm", "yaw_deg")} for row in csv.DictReader(file)}
"""

#: Defines ``load(path)``, which returns objects, sources, good objects and good sources.
LOAD = """
SOURCE_COLUMNS = ["diaSourceId", "diaObjectId", "ra", "decl", "ccdVisitId", "midPointTai",
    "apFlux", "psFlux", "apFluxErr", "psFluxErr", "totFlux", "totFluxErr", "x", "y", "ixxPSF",
    "iyyPSF", "filterName", "flags"]
BITS = range(24)
BAD = ("flag_6", "flag_7", "flag_9")  # bad, suspect, saturatedCenter

def load(path):
    connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    objects = pd.read_sql_query("select diaObjectId, ra, decl, nDiaSources, gPSFluxMean, "
        "validityEnd, flags from DiaObject where validityEnd is null", connection)
    sources = pd.read_sql_query(f"select {', '.join(SOURCE_COLUMNS)} from DiaSource", connection)
    connection.close()
    sources["ccd"] = sources["ccdVisitId"].apply(lambda number: str(number)[-2:])
    sources["visit"] = sources["ccdVisitId"].apply(lambda number: str(number)[:-2])
    flags = pd.DataFrame({f"flag_{bit}": (sources["flags"] & (1 << bit)) != 0 for bit in BITS},
        index=sources.index)
    with_flags = pd.merge(sources, flags, left_index=True, right_index=True)
    is_bad = with_flags[BAD[0]] | with_flags[BAD[1]] | with_flags[BAD[2]]
    good = with_flags.loc[~is_bad].copy()
    good_objects = objects.loc[objects["diaObjectId"].isin(set(good["diaObjectId"]))]
    return objects, sources, good_objects, good
"""

#: Defines ``placed(sources)``: lists of focal-plane x and y, one row after the other.
WALK = """
def place(x, y, ccd):
    chip = chips[int(ccd)]
    dx = (x - chip["ref_x_px"]) * chip["pixel_size_x_mm"]
    dy = (y - chip["ref_y_px"]) * chip["pixel_size_y_mm"]
    yaw = math.radians(chip["yaw_deg"])
    return (chip["offset_x_mm"] + math.cos(yaw) * dx - math.sin(yaw) * dy,
        chip["offset_y_mm"] + math.sin(yaw) * dx + math.cos(yaw) * dy)

def placed(sources):
    xs, ys = [], []
    for _, row in sources.iterrows():
        x, y = place(row["x"], row["y"], row["ccd"])
        xs.append(x)
        ys.append(y)
    return xs, ys

def density(sources):
    per_ccd = sources.groupby("ccd")
    return {ccd: per_ccd.get_group(ccd).x.count() for ccd in np.unique(sources["ccd"])}
"""
