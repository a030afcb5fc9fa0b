-- purpose: What a rerun holds, and what in it cannot be used.
-- grain: one row per rerun
-- inputs: dia_source, rerun
-- columns:
--   rerun: name of the rerun
--   visits: visits with sources, sorted
--   detectors: detectors with sources, sorted
--   bands: bands, sorted
--   first_mjd_tai: earliest midpointMjdTai [d]
--   last_mjd_tai: latest midpointMjdTai [d]
--   median_seeing_arcsec: median psf_fwhm_arcsec of all sources [arcsec]
--   mean_seeing_arcsec: mean psf_fwhm_arcsec of all sources [arcsec]
--   n_null_flags: sources that are not good because a flag of the good definition is NULL
--   n_bad_positions: sources whose ra or dec is NULL, not finite or out of range
--   n_null_visits: sources without visit or detector
--   n_without_object: sources without a diaObject
select
    rerun.rerun,
    gathered.*
from rerun
cross join (
    select
        list_sort(list(distinct visit) filter (where visit is not null)) as visits,
        list_sort(list(distinct detector) filter (where detector is not null)) as detectors,
        list_sort(list(distinct band) filter (where band is not null)) as bands,
        min(midpointMjdTai) as first_mjd_tai,
        max(midpointMjdTai) as last_mjd_tai,
        median(psf_fwhm_arcsec) as median_seeing_arcsec,
        favg(psf_fwhm_arcsec) as mean_seeing_arcsec,
        count(*) filter (where good_definition_bits is null) as n_null_flags,
        count(*) filter (
            where not coalesce(
                isfinite(ra) and isfinite(dec)
                and ra >= 0 and ra <= 360 and dec between -90 and 90, false
            )
        ) as n_bad_positions,
        count(*) filter (where visit is null or detector is null) as n_null_visits,
        count(*) filter (where diaObjectId is null) as n_without_object
    from dia_source
) as gathered
