-- purpose: Sources of the first 196 visits by where in the tile of their visit they lie, in 64 times 64 bins; bins of two reruns are not the same piece of sky (visit_tile).
-- grain: one row per visit and bin with at least one source
-- inputs: dia_source, visit_tile, rerun
-- columns:
--   rerun: name of the rerun
--   visit: visit
--   x_bin: from 0 towards growing ra; its lower side lies (x_bin - 32) * bin_deg / cos_dec from ra_middle_deg
--   y_bin: from 0 towards growing dec; its lower side lies (y_bin - 32) * bin_deg from dec_middle_deg
--   n_dia_sources: sources
--   n_good_dia_sources: good sources
select
    rerun.rerun,
    binned.visit,
    binned.x_bin,
    binned.y_bin,
    binned.n_dia_sources,
    binned.n_good_dia_sources
from (
    select
        visit,
        x_bin,
        y_bin,
        count(*) as n_dia_sources,
        count(*) filter (where is_good) as n_good_dia_sources
    from (
        select
            visit,
            is_good,
            -- The shorter way around the sky.
            cast(floor((east_deg - 360 * floor(east_deg / 360 + 0.5)) * cos_dec / bin_deg) + 32 as integer) as x_bin,
            cast(floor(north_deg / bin_deg) + 32 as integer) as y_bin
        from (
            select
                source.visit,
                source.is_good,
                source.ra - tile.ra_middle_deg as east_deg,
                source.dec - tile.dec_middle_deg as north_deg,
                tile.cos_dec,
                tile.bin_deg
            from (
                select
                    visit,
                    ra,
                    dec,
                    is_good
                from dia_source
                where ra between 0 and 360 and dec between -90 and 90
            ) as source
            inner join (
                select
                    visit,
                    ra_middle_deg,
                    dec_middle_deg,
                    cos_dec,
                    bin_deg
                from visit_tile
                where tile < 196
            ) as tile
                on source.visit = tile.visit
        ) as offset_deg
    ) as placed
    group by visit, x_bin, y_bin
) as binned
cross join rerun
