-- purpose: DIA sources as they are stored, each judged by the good definition: what counts need, before anything is asked of instrument and units.
-- grain: one row per diaSource
-- inputs: staged_dia_source, good_definition
-- columns:
--   DiaSource.*: every column of schema 10.0.0 and the older ones without a successor; NULL where the file lacks it; diaObjectId and ssObjectId 0 are NULL
--   rerun: name of the rerun
--   good_definition_bits: flags of the good definition that are set, as one integer; NULL when one of them is NULL
--   is_good: none of the flags of the good definition is set, and none is NULL
select
    * replace (
        nullif(diaObjectId, 0) as diaObjectId,
        nullif(ssObjectId, 0) as ssObjectId
    ),
    coalesce((good_definition_bits & (select bit_or(good_definition.bit) from good_definition)) = 0, false) as is_good
from staged_dia_source
