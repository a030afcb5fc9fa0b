-- purpose: Detectors of the rerun's camera: pixel area, area on the sky, and the rotation and offset in the focal plane; empty where the camera is not known.
-- grain: one row per rerun and detector
-- inputs: camera_detector, rerun
-- columns:
--   rerun: name of the rerun
--   detector: number of the detector
--   name: name of the detector
--   detector_type: 0 science, 1 focus, 2 guider, 3 wavefront
--   left_px: lower x side of the pixel area, half a pixel outside the first pixel centre [px]
--   right_px: upper x side of the pixel area [px]
--   bottom_px: lower y side of the pixel area [px]
--   top_px: upper y side of the pixel area [px]
--   area_px: number of pixels
--   area_deg2: area on the sky [deg2]
--   pixel_size_x_mm: size of a pixel along x [mm]
--   pixel_size_y_mm: size of a pixel along y [mm]
--   ref_x_px: pixel x that lies at the offset [px]
--   ref_y_px: pixel y that lies at the offset [px]
--   offset_x_mm: focal-plane x of the reference pixel [mm]
--   offset_y_mm: focal-plane y of the reference pixel [mm]
--   cos_yaw: cosine of the rotation in the focal plane
--   sin_yaw: sine of the rotation in the focal plane
select
    camera_detector.rerun,
    camera_detector.detector,
    camera_detector.name,
    camera_detector.detector_type,
    camera_detector.x0_px - 0.5 as left_px,
    camera_detector.x1_px + 0.5 as right_px,
    camera_detector.y0_px - 0.5 as bottom_px,
    camera_detector.y1_px + 0.5 as top_px,
    (camera_detector.x1_px - camera_detector.x0_px + 1) * (camera_detector.y1_px - camera_detector.y0_px + 1) as area_px,
    (camera_detector.x1_px - camera_detector.x0_px + 1) * camera_detector.pixel_size_x_mm
    * (camera_detector.y1_px - camera_detector.y0_px + 1) * camera_detector.pixel_size_y_mm
    * (rerun.plate_scale_arcsec_per_mm / 3600) * (rerun.plate_scale_arcsec_per_mm / 3600) as area_deg2,
    camera_detector.pixel_size_x_mm,
    camera_detector.pixel_size_y_mm,
    camera_detector.ref_x_px,
    camera_detector.ref_y_px,
    camera_detector.offset_x_mm,
    camera_detector.offset_y_mm,
    cos(radians(camera_detector.yaw_deg)) as cos_yaw,
    sin(radians(camera_detector.yaw_deg)) as sin_yaw
from camera_detector
inner join rerun using (rerun)
