-- purpose: Strictly good objects: current, with at least one source, and every source good (the definition in the old documentation, "entirely composed of" good sources).
-- grain: one row per strictly good diaObject
-- inputs: dia_object, dia_source
-- columns:
--   dia_object.*: as there
select dia_object.*
from dia_object
semi join (
    select
        rerun,
        diaObjectId
    from dia_source
    where diaObjectId is not null
    group by rerun, diaObjectId
    having bool_and(is_good)
) as flawless
    using (rerun, diaObjectId)
