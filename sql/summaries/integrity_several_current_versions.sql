-- purpose: Integrity: objects with more than one version whose validity has no end.
-- grain: one row per diaObject with several current versions
-- inputs: dia_object
-- columns:
--   rerun: name of the rerun
--   diaObjectId: the object
--   n_versions: its current versions
select
    rerun,
    diaObjectId,
    count(*) as n_versions
from dia_object
group by rerun, diaObjectId
having count(*) > 1
