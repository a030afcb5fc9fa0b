-- purpose: Integrity: versions of an object that begin at the same time.
-- grain: one row per diaObject and validityStartMjdTai that is there more than once
-- inputs: dia_object_history
-- columns:
--   rerun: name of the rerun
--   diaObjectId: the object
--   validityStartMjdTai: when the versions begin (MJD, TAI) [d]
--   n_rows: versions that begin then
select
    rerun,
    diaObjectId,
    validityStartMjdTai,
    count(*) as n_rows
from dia_object_history
group by rerun, diaObjectId, validityStartMjdTai
having count(*) > 1
