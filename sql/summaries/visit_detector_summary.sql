-- purpose: Sources of every processed detector image.
-- grain: one row per visit and detector
-- inputs: image, dia_source, detector_geometry, rerun
-- columns:
--   rerun: name of the rerun
--   visit: visit
--   detector: detector
--   n_images: 1, or 0 where sources lie on an image that was not recorded as processed
--   image_source: where the images are known from
--   n_dia_sources: sources
--   n_good_dia_sources: good sources
--   midpoint_mjd_tai: median midpointMjdTai of the sources [d]
--   night: date of the evening at the site
--   band: band
--   median_seeing_arcsec: median psf_fwhm_arcsec of the sources [arcsec]
--   area_deg2: area of the detector on the sky [deg2]
--   density_deg2: sources per square degree [deg-2]
--   good_density_deg2: good sources per square degree [deg-2]
select
    *,
    n_dia_sources / area_deg2 as density_deg2,
    n_good_dia_sources / area_deg2 as good_density_deg2
from (
    select
        joined.*,
        case
            when rerun.geometry_problem is not null
                then cast(error('hitsduck instrument: ' || rerun.geometry_problem) as double)
            else detector_geometry.area_deg2
        end as area_deg2
    from (
        select
            coalesce(image.rerun, counted.rerun) as rerun,
            coalesce(image.visit, counted.visit) as visit,
            coalesce(image.detector, counted.detector) as detector,
            if(image.rerun is null, 0, 1) as n_images,
            image.image_source,
            coalesce(counted.n_dia_sources, 0) as n_dia_sources,
            coalesce(counted.n_good_dia_sources, 0) as n_good_dia_sources,
            counted.midpoint_mjd_tai,
            counted.night,
            counted.band,
            counted.median_seeing_arcsec
        from image
        full outer join (
            select
                rerun,
                visit,
                detector,
                count(*) as n_dia_sources,
                count(*) filter (where is_good) as n_good_dia_sources,
                median(midpointMjdTai) as midpoint_mjd_tai,
                min(night) as night,
                min(band) as band,
                median(psf_fwhm_arcsec) as median_seeing_arcsec
            from dia_source
            group by rerun, visit, detector
        ) as counted
            on
                image.rerun = counted.rerun
                and image.visit = counted.visit
                and image.detector = counted.detector
    ) as joined
    inner join rerun using (rerun)
    left join detector_geometry using (rerun, detector)
) as measured
