-- purpose: Square tiles of the sky, all of one size, each around the middle of the box of a visit's sources in this rerun; another rerun's tiles lie a little elsewhere.
-- grain: one row per visit with at least one source whose position can be drawn
-- inputs: visit_extent
-- columns:
--   rerun: name of the rerun
--   visit: visit
--   tile: the visit's place in order of time, from 0
--   ra_middle_deg: ra of the middle; may be below 0 or above 360 [deg]
--   dec_middle_deg: dec of the middle [deg]
--   cos_dec: cosine of dec_middle_deg
--   bin_deg: side of a bin, a 64th of a tile; a tile holds the box of the widest of the first 196 visits [deg]
--   n_dia_sources: sources in the tile
--   n_good_dia_sources: good sources in the tile
select
    rerun,
    visit,
    tile,
    ra_middle_deg,
    dec_middle_deg,
    cos_dec,
    -- A little more, so that the outermost source lies inside of the last bin.
    1.00005 * greatest(max(case when tile < 196 then side_deg end) over (), 0.002) / 64 as bin_deg,
    n_dia_sources,
    n_good_dia_sources
from (
    select
        *,
        row_number() over (order by first_mjd_tai, visit) - 1 as tile,
        greatest((ra_high_deg - ra_low_deg) * cos_dec, dec_high_deg - dec_low_deg) as side_deg
    from (
        select
            *,
            (ra_low_deg + ra_high_deg) / 2 as ra_middle_deg,
            (dec_low_deg + dec_high_deg) / 2 as dec_middle_deg,
            cos(radians((dec_low_deg + dec_high_deg) / 2)) as cos_dec
        from visit_extent
        where visit is not null
    ) as middle
) as measured
