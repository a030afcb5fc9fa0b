-- purpose: Integrity: ids that more than one source has.
-- grain: one row per diaSourceId that is there more than once
-- inputs: dia_source
-- columns:
--   rerun: name of the rerun
--   diaSourceId: the id
--   n_rows: sources that have it
select
    rerun,
    diaSourceId,
    count(*) as n_rows
from dia_source
group by rerun, diaSourceId
having count(*) > 1
