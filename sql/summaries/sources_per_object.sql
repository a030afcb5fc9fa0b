-- purpose: How many current objects have so many sources, good or not.
-- grain: one row per number of sources that an object has
-- inputs: dia_object_summary
-- columns:
--   rerun: name of the rerun
--   n_dia_sources: sources of each of these objects
--   n_dia_objects: objects
--   n_good_dia_objects: objects with at least one good source
select
    rerun,
    n_dia_sources,
    count(*) as n_dia_objects,
    count(*) filter (where n_good_dia_sources > 0) as n_good_dia_objects
from dia_object_summary
group by rerun, n_dia_sources
