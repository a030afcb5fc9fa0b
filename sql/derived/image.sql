-- purpose: Processed detector images: from DetectorVisitProcessingSummary where it has rows, else every visit and detector with at least one DiaSource (good or not) or DiaForcedSource.
-- grain: one row per visit and detector
-- inputs: processing_summary, dia_source, dia_forced_source, rerun
-- columns:
--   rerun: name of the rerun
--   visit: visit
--   detector: detector
--   image_source: DetectorVisitProcessingSummary, or DiaSource and DiaForcedSource
select
    listed.rerun,
    listed.visit,
    case
        when not list_contains(rerun.known_detectors, listed.detector)
            then cast(error(
                'hitsduck instrument: rerun ' || rerun.rerun || ': '
                || coalesce(rerun.instrument, 'the camera') || ' has no detector '
                || listed.detector || ' (visit ' || listed.visit || ' of '
                || listed.image_source || '); state the right instrument or camera'
            ) as integer)
        else listed.detector
    end as detector,
    listed.image_source
from (
    select distinct
        rerun,
        visit,
        detector,
        'DetectorVisitProcessingSummary' as image_source
    from processing_summary
    union all
    select
        rerun,
        visit,
        detector,
        'DiaSource and DiaForcedSource' as image_source
    from (
        select
            rerun,
            visit,
            detector
        from dia_source
        where visit is not null and detector is not null
        group by rerun, visit, detector
        union
        select
            rerun,
            visit,
            detector
        from dia_forced_source
        where visit is not null and detector is not null
        group by rerun, visit, detector
    ) as seen
    where not exists (select 1 from processing_summary)
) as listed
inner join rerun using (rerun)
