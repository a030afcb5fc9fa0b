-- purpose: The box on the sky that the sources of every visit lie in, good or not; ra is counted from the visit's mean direction, so that 0 is no border.
-- grain: one row per visit with at least one source whose position can be drawn
-- inputs: dia_source
-- columns:
--   rerun: name of the rerun
--   visit: visit; NULL for the sources without one
--   ra_low_deg: lowest ra, below 0 where the box lies across it [deg]
--   ra_high_deg: highest ra, above 360 where the box lies across it [deg]
--   dec_low_deg: lowest dec [deg]
--   dec_high_deg: highest dec [deg]
--   n_dia_sources: sources in the box
--   n_good_dia_sources: good sources in the box
--   first_mjd_tai: earliest midpointMjdTai of the sources [d]
select
    rerun,
    visit,
    ra_middle_deg + min(offset_deg) as ra_low_deg,
    ra_middle_deg + max(offset_deg) as ra_high_deg,
    min(dec) as dec_low_deg,
    max(dec) as dec_high_deg,
    count(*) as n_dia_sources,
    count(*) filter (where is_good) as n_good_dia_sources,
    min(midpointMjdTai) as first_mjd_tai
from (
    select
        source.rerun,
        source.visit,
        source.dec,
        source.is_good,
        source.midpointMjdTai,
        middle.ra_middle_deg,
        (source.ra - middle.ra_middle_deg + 540) % 360 - 180 as offset_deg
    from (
        select
            rerun,
            visit,
            ra,
            dec,
            is_good,
            midpointMjdTai
        from dia_source
        where ra between 0 and 360 and dec between -90 and 90
    ) as source
    inner join (
        select
            rerun,
            visit,
            (degrees(atan2(avg(sin(radians(ra))), avg(cos(radians(ra))))) + 360) % 360 as ra_middle_deg
        from dia_source
        where ra between 0 and 360 and dec between -90 and 90
        group by rerun, visit
    ) as middle
        on source.rerun = middle.rerun and source.visit is not distinct from middle.visit
) as relative
group by rerun, visit, ra_middle_deg
