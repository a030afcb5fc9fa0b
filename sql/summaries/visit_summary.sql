-- purpose: Sources, seeing and density of every visit.
-- grain: one row per visit
-- inputs: image, dia_source, detector_geometry, rerun
-- columns:
--   rerun: name of the rerun
--   visit: visit
--   midpoint_mjd_tai: median midpointMjdTai of the sources [d]
--   night: date of the evening at the site
--   band: band
--   n_images: processed detector images
--   image_source: where the images are known from
--   n_dia_sources: sources
--   n_good_dia_sources: good sources
--   median_seeing_arcsec: median psf_fwhm_arcsec of the sources [arcsec]
--   area_deg2: area of the processed images on the sky [deg2]
--   density_deg2: sources per square degree [deg-2]
--   good_density_deg2: good sources per square degree [deg-2]
select
    *,
    n_dia_sources / area_deg2 as density_deg2,
    n_good_dia_sources / area_deg2 as good_density_deg2
from (
    select
        coalesce(imaged.rerun, counted.rerun) as rerun,
        coalesce(imaged.visit, counted.visit) as visit,
        counted.midpoint_mjd_tai,
        counted.night,
        counted.band,
        coalesce(imaged.n_images, 0) as n_images,
        imaged.image_source,
        coalesce(counted.n_dia_sources, 0) as n_dia_sources,
        coalesce(counted.n_good_dia_sources, 0) as n_good_dia_sources,
        counted.median_seeing_arcsec,
        imaged.area_deg2
    from (
        select
            image.rerun,
            image.visit,
            count(*) as n_images,
            min(image.image_source) as image_source,
            sum(case
                when rerun.geometry_problem is not null
                    then cast(error('hitsduck instrument: ' || rerun.geometry_problem) as double)
                else detector_geometry.area_deg2
            end order by image.detector) as area_deg2
        from image
        inner join rerun using (rerun)
        left join detector_geometry using (rerun, detector)
        group by image.rerun, image.visit
    ) as imaged
    full outer join (
        select
            rerun,
            visit,
            count(*) as n_dia_sources,
            count(*) filter (where is_good) as n_good_dia_sources,
            median(midpointMjdTai) as midpoint_mjd_tai,
            min(night) as night,
            min(band) as band,
            median(psf_fwhm_arcsec) as median_seeing_arcsec
        from dia_source
        group by rerun, visit
    ) as counted
        on imaged.rerun = counted.rerun and imaged.visit = counted.visit
) as joined
