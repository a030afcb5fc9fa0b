-- purpose: Sources and density of every detector, over the images of it that were processed.
-- grain: one row per detector
-- inputs: image, dia_source, detector_geometry, rerun
-- columns:
--   rerun: name of the rerun
--   detector: detector
--   n_images: processed images of the detector
--   n_visits: visits of the rerun, whether this detector was processed in them or not
--   image_source: where the images are known from
--   n_dia_sources: sources
--   n_good_dia_sources: good sources
--   median_seeing_arcsec: median psf_fwhm_arcsec of the sources [arcsec]
--   area_deg2: area of the detector on the sky [deg2]
--   density_deg2: sources per image and square degree [deg-2]
--   good_density_deg2: good sources per image and square degree [deg-2]
--   density_per_visit_deg2: as the seed analysis had it: sources over all visits of the rerun [deg-2]
--   good_density_per_visit_deg2: good sources over all visits of the rerun [deg-2]
select
    *,
    n_dia_sources / nullif(n_images * area_deg2, 0) as density_deg2,
    n_good_dia_sources / nullif(n_images * area_deg2, 0) as good_density_deg2,
    n_dia_sources / nullif(n_visits * area_deg2, 0) as density_per_visit_deg2,
    n_good_dia_sources / nullif(n_visits * area_deg2, 0) as good_density_per_visit_deg2
from (
    select
        joined.rerun,
        joined.detector,
        joined.n_images,
        visits.n_visits,
        joined.image_source,
        joined.n_dia_sources,
        joined.n_good_dia_sources,
        joined.median_seeing_arcsec,
        case
            when rerun.geometry_problem is not null
                then cast(error('hitsduck instrument: ' || rerun.geometry_problem) as double)
            else detector_geometry.area_deg2
        end as area_deg2
    from (
        select
            coalesce(imaged.rerun, counted.rerun) as rerun,
            coalesce(imaged.detector, counted.detector) as detector,
            coalesce(imaged.n_images, 0) as n_images,
            imaged.image_source,
            coalesce(counted.n_dia_sources, 0) as n_dia_sources,
            coalesce(counted.n_good_dia_sources, 0) as n_good_dia_sources,
            counted.median_seeing_arcsec
        from (
            select
                rerun,
                detector,
                count(*) as n_images,
                min(image_source) as image_source
            from image
            group by rerun, detector
        ) as imaged
        full outer join (
            select
                rerun,
                detector,
                count(*) as n_dia_sources,
                count(*) filter (where is_good) as n_good_dia_sources,
                median(psf_fwhm_arcsec) as median_seeing_arcsec
            from dia_source
            group by rerun, detector
        ) as counted
            on imaged.rerun = counted.rerun and imaged.detector = counted.detector
    ) as joined
    inner join rerun using (rerun)
    left join (
        select
            rerun,
            count(distinct visit) as n_visits
        from image
        group by rerun
    ) as visits using (rerun)
    left join detector_geometry using (rerun, detector)
) as measured
