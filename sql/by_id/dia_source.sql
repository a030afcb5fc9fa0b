-- purpose: SQLite's twin of the view dia_source, for the rows of one id; a test holds the two equal.
-- grain: one row per diaSource
-- inputs: staged_dia_source
-- values: :visit_id_factor, :moments_scale_arcsec, :is_iyy_psf_ixy_psf, :longitude_deg, :bad_bits (good_definition as one integer)
-- columns:
--   dia_source.*: as there, a computed column after the staged one that it replaces; truths are 0 and 1, night is the MJD of its date
--   usable_iyy_psf: iyyPSF as the view has it
--   is_regular: no moment and no flux is infinite, which SQLite and DuckDB divide differently
select
    identified.*,
    coalesce(visit, ccdVisitId / :visit_id_factor) as visit,
    coalesce(detector, ccdVisitId % :visit_id_factor) as detector,
    nullif(diaObjectId, 0) as diaObjectId,
    nullif(ssObjectId, 0) as ssObjectId,
    usable_iyy_psf as iyyPSF,
    coalesce((good_definition_bits & :bad_bits) = 0, 0) as is_good,
    abs(psfFlux) / nullif(psfFluxErr, 0) as psf_snr,
    case
        when ixxPSF > 0 and ixxPSF + coalesce(usable_iyy_psf, ixxPSF) > 0
            then 2 * sqrt(2 * ln(2)) * :moments_scale_arcsec * sqrt((ixxPSF + coalesce(usable_iyy_psf, ixxPSF)) / 2)
    end as psf_fwhm_arcsec,
    case
        when midpointMjdTai between 0 and 2900000
            then cast(floor(midpointMjdTai + :longitude_deg / 360 - 0.5) as integer)
    end as night,
    max(
        coalesce(abs(psfFlux), 0), coalesce(abs(psfFluxErr), 0), coalesce(abs(ixxPSF), 0), coalesce(abs(iyyPSF), 0)
    ) < 9e999 as is_regular
from (
    select
        staged_dia_source.*,
        case when not (:is_iyy_psf_ixy_psf and iyyPSF = ixyPSF) then iyyPSF end as usable_iyy_psf
    from staged_dia_source
) as identified
