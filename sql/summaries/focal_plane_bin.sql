-- purpose: Sources by where in the focal plane they lie, in square bins as wide as 64 pixels of the camera's first detector.
-- grain: one row per bin with at least one source, and one for the sources without a place
-- inputs: dia_source_focal_plane, detector_geometry, rerun
-- columns:
--   rerun: name of the rerun
--   x_bin: bin k covers k * bin_mm to (k + 1) * bin_mm of focal_x_mm; NULL for the sources without a place
--   y_bin: bin k covers k * bin_mm to (k + 1) * bin_mm of focal_y_mm; NULL for the sources without a place
--   n_dia_sources: sources
--   n_good_dia_sources: good sources
--   bin_mm: side of a bin [mm]
select
    rerun.rerun,
    binned.x_bin,
    binned.y_bin,
    binned.n_dia_sources,
    binned.n_good_dia_sources,
    binned.bin_mm
from (
    select
        x_bin,
        y_bin,
        bin_mm,
        count(*) as n_dia_sources,
        count(*) filter (where is_good) as n_good_dia_sources
    from (
        select
            is_good,
            bin_mm,
            -- Both or none.
            case when y_bin is not null then x_bin end as x_bin,
            case when x_bin is not null then y_bin end as y_bin
        from (
            select
                source.is_good,
                size.bin_mm,
                -- A place that no number of 32 bits tells lies in no picture.
                try_cast(floor(source.focal_x_mm / size.bin_mm) as integer) as x_bin,
                try_cast(floor(source.focal_y_mm / size.bin_mm) as integer) as y_bin
            from dia_source_focal_plane as source
            cross join (
                select 64 * arg_min(pixel_size_x_mm, detector) as bin_mm
                from detector_geometry
            ) as size
        ) as placed
    ) as known
    group by x_bin, y_bin, bin_mm
) as binned
cross join rerun
