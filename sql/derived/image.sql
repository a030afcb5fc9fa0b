-- purpose: Processed detector images: from DetectorVisitProcessingSummary where it has rows, else every visit and detector with at least one DiaSource (good or not) or DiaForcedSource.
-- grain: one row per visit and detector
-- inputs: processing_summary, dia_source, dia_forced_source
-- columns:
--   rerun: name of the rerun
--   visit: visit
--   detector: detector
--   image_source: DetectorVisitProcessingSummary, or DiaSource and DiaForcedSource
with recorded as (
    select distinct
        rerun,
        visit,
        detector
    from processing_summary
),

seen as (
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
)

select
    rerun,
    visit,
    detector,
    'DetectorVisitProcessingSummary' as image_source
from recorded
union all
select
    rerun,
    visit,
    detector,
    'DiaSource and DiaForcedSource' as image_source
from seen
where not exists (select 1 from recorded)
