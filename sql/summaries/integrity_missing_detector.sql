-- purpose: Integrity: detectors that a visit lacks, although more than half of the visits have them.
-- grain: one row per visit and detector that is missing
-- inputs: image
-- columns:
--   rerun: name of the rerun
--   visit: visit
--   detector: the detector that has no image in this visit
--   n_visits_with_detector: visits that have it
--   n_visits: visits of the rerun
select
    visits.rerun,
    visits.visit,
    detectors.detector,
    detectors.n_visits_with_detector,
    visits.n_visits
from (
    select
        rerun,
        visit,
        count(*) over (partition by rerun) as n_visits
    from image
    group by rerun, visit
) as visits
inner join (
    select
        rerun,
        detector,
        count(*) as n_visits_with_detector
    from image
    group by rerun, detector
) as detectors
    on
        visits.rerun = detectors.rerun
        and detectors.n_visits_with_detector * 2 > visits.n_visits
left join image as present
    on
        visits.rerun = present.rerun
        and visits.visit = present.visit
        and detectors.detector = present.detector
where present.rerun is null
