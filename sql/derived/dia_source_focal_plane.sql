-- purpose: Position of every source in the focal plane: R(yaw) * ((x, y) - ref) * pixel size + offset (lsst/obs_decam, obs_subaru, obs_lsst).
-- grain: one row per diaSource
-- inputs: dia_source, detector_geometry, rerun
-- columns:
--   dia_source.*: as there
--   focal_x_mm: focal-plane x [mm]
--   focal_y_mm: focal-plane y [mm]
select
    * exclude (position_problem, cos_yaw, sin_yaw, offset_x_mm, offset_y_mm, u_mm, v_mm),
    case
        when position_problem is not null
            then cast(error('hitsduck instrument: ' || position_problem) as double)
        else cos_yaw * u_mm - sin_yaw * v_mm + offset_x_mm
    end as focal_x_mm,
    case
        when position_problem is not null
            then cast(error('hitsduck instrument: ' || position_problem) as double)
        else sin_yaw * u_mm + cos_yaw * v_mm + offset_y_mm
    end as focal_y_mm
from (
    select
        dia_source.*,
        rerun.position_problem,
        detector_geometry.cos_yaw,
        detector_geometry.sin_yaw,
        detector_geometry.offset_x_mm,
        detector_geometry.offset_y_mm,
        (dia_source.x - detector_geometry.ref_x_px) * detector_geometry.pixel_size_x_mm as u_mm,
        (dia_source.y - detector_geometry.ref_y_px) * detector_geometry.pixel_size_y_mm as v_mm
    from dia_source
    inner join rerun using (rerun)
    left join detector_geometry using (rerun, detector)
) as offset_mm
