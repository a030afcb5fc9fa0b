-- purpose: Visits and sources of every night, local mean noon to noon.
-- grain: one row per night
-- inputs: dia_source
-- columns:
--   rerun: name of the rerun
--   night: date of the evening at the site
--   n_visits: visits with at least one source
--   n_images: detector images with at least one source
--   n_dia_sources: sources
--   n_good_dia_sources: good sources
--   mean_dia_sources_per_visit: mean over the visits
--   mean_good_dia_sources_per_visit: mean over the visits
--   stderr_dia_sources_per_visit: standard error of that mean; NULL for a single visit
--   stderr_good_dia_sources_per_visit: standard error of that mean; NULL for a single visit
--   median_seeing_arcsec: median over the visits of their median psf_fwhm_arcsec [arcsec]
select
    rerun,
    night,
    count(visit) as n_visits,
    cast(sum(n_images) as bigint) as n_images,
    cast(sum(n_dia_sources) as bigint) as n_dia_sources,
    cast(sum(n_good_dia_sources) as bigint) as n_good_dia_sources,
    avg(n_dia_sources) filter (where visit is not null) as mean_dia_sources_per_visit,
    avg(n_good_dia_sources) filter (where visit is not null) as mean_good_dia_sources_per_visit,
    stddev_samp(n_dia_sources order by n_dia_sources) filter (where visit is not null) / sqrt(count(visit)) as stderr_dia_sources_per_visit,
    stddev_samp(n_good_dia_sources order by n_good_dia_sources) filter (where visit is not null) / sqrt(count(visit)) as stderr_good_dia_sources_per_visit,
    median(median_seeing_arcsec) as median_seeing_arcsec
from (
    select
        rerun,
        visit,
        min(night) as night,
        count(distinct detector) as n_images,
        count(*) as n_dia_sources,
        count(*) filter (where is_good) as n_good_dia_sources,
        median(psf_fwhm_arcsec) as median_seeing_arcsec
    from dia_source
    group by rerun, visit
) as per_visit
group by rerun, night
