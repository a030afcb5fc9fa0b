-- purpose: DIA sources of one rerun under the names of schema 10.0.0, whatever generation wrote them.
-- grain: one row per diaSource
-- inputs: staged_dia_source, rerun, good_definition
-- columns:
--   DiaSource.*: every column of schema 10.0.0 and the older ones without a successor; NULL where the file lacks it; diaObjectId and ssObjectId 0 are NULL; visit and detector out of ccdVisitId where needed; iyyPSF NULL where it holds ixyPSF
--   rerun: name of the rerun
--   good_definition_bits: flags of the good definition that are set, as one integer; NULL when one of them is NULL
--   is_good: none of the flags of the good definition is set, and none is NULL
--   psf_snr: abs(psfFlux) / psfFluxErr
--   psf_fwhm_arcsec: FWHM of the PSF at the source, 2 sqrt(2 ln 2) sqrt((ixxPSF + iyyPSF) / 2); of ixxPSF alone where iyyPSF is not usable; NULL without a positive ixxPSF [arcsec]
--   night: date of the evening at the site, local mean noon to noon; NULL without a possible midpointMjdTai
select
    * exclude (
        stored_flags,
        rerun_instrument,
        detectors_to_check,
        site_problem,
        seeing_problem,
        longitude_deg,
        moments_scale_arcsec
    ) replace (
        case
            -- NULL where all were checked at opening, which spares each row the search.
            when not list_contains(detectors_to_check, detector)
                then cast(error(
                    'hitsduck instrument: rerun ' || rerun || ': '
                    || coalesce(rerun_instrument, 'the camera') || ' has no detector '
                    || detector || ' (diaSourceId ' || diaSourceId
                    || '); state the right instrument or camera'
                ) as integer)
            else detector
        end as detector
    ),
    coalesce((stored_flags & (select bit_or(good_definition.stored_bit) from good_definition)) = 0, false) as is_good,
    abs(cast(psfFlux as double)) / nullif(cast(psfFluxErr as double), 0) as psf_snr,
    case
        when seeing_problem is not null
            then cast(error('hitsduck instrument: ' || seeing_problem) as double)
        when ixxPSF > 0 and ixxPSF + coalesce(iyyPSF, ixxPSF) > 0
            then 2 * sqrt(2 * ln(2)) * moments_scale_arcsec * sqrt((ixxPSF + coalesce(iyyPSF, ixxPSF)) / 2)
    end as psf_fwhm_arcsec,
    case
        when site_problem is not null
            then cast(error('hitsduck instrument: ' || site_problem) as date)
        -- Until the year 9800: a time beyond any calendar is no time.
        when midpointMjdTai between 0 and 2900000
            then date '1858-11-17' + cast(floor(midpointMjdTai + longitude_deg / 360 - 0.5) as integer)
    end as night
from (
    select
        staged_dia_source.* replace (
            case
                when staged_dia_source.ccdVisitId is not null and rerun.id_problem is not null
                    then cast(error('hitsduck instrument: ' || rerun.id_problem) as bigint)
                else coalesce(staged_dia_source.visit, staged_dia_source.ccdVisitId // rerun.visit_id_factor)
            end as visit,
            case
                when staged_dia_source.ccdVisitId is not null and rerun.id_problem is not null
                    then cast(error('hitsduck instrument: ' || rerun.id_problem) as integer)
                else coalesce(staged_dia_source.detector, cast(staged_dia_source.ccdVisitId % rerun.visit_id_factor as integer))
            end as detector,
            nullif(staged_dia_source.diaObjectId, 0) as diaObjectId,
            nullif(staged_dia_source.ssObjectId, 0) as ssObjectId,
            case
                when not (rerun.is_iyy_psf_ixy_psf and staged_dia_source.iyyPSF = staged_dia_source.ixyPSF)
                    then staged_dia_source.iyyPSF
            end as iyyPSF
        ),
        rerun.instrument as rerun_instrument,
        rerun.detectors_to_check,
        rerun.site_problem,
        rerun.seeing_problem,
        rerun.longitude_deg,
        rerun.moments_scale_arcsec
    from staged_dia_source
    cross join rerun
) as identified
