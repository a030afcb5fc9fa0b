-- purpose: Distance of every source to the nearest side of its detector's pixel area, whose sides lie half a pixel outside the first and last pixel centres.
-- grain: one row per diaSource
-- inputs: dia_source, detector_geometry, rerun
-- columns:
--   dia_source.*: as there
--   edge_distance_px: distance from the centroid to the nearest side, negative outside [px]
--   edge_side: that side: left (low x), right (high x), bottom (low y), top (high y); the first of them in a tie
select
    * exclude (position_problem, to_left_px, to_right_px, to_bottom_px, to_top_px),
    case edge_distance_px
        when to_left_px then 'left'
        when to_right_px then 'right'
        when to_bottom_px then 'bottom'
        when to_top_px then 'top'
    end as edge_side
from (
    select
        *,
        case
            when position_problem is not null
                then cast(error('hitsduck instrument: ' || position_problem) as double)
            when
                to_left_px is not null and to_right_px is not null
                and to_bottom_px is not null and to_top_px is not null
                then least(to_left_px, to_right_px, to_bottom_px, to_top_px)
        end as edge_distance_px
    from (
        select
            dia_source.*,
            rerun.position_problem,
            dia_source.x - detector_geometry.left_px as to_left_px,
            detector_geometry.right_px - dia_source.x as to_right_px,
            dia_source.y - detector_geometry.bottom_px as to_bottom_px,
            detector_geometry.top_px - dia_source.y as to_top_px
        from dia_source
        inner join rerun using (rerun)
        left join detector_geometry using (rerun, detector)
    ) as sided
) as nearest
