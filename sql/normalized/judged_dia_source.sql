-- purpose: DIA sources judged by the good definition, and no more: what counts need, before anything is asked of instrument and units.
-- grain: one row per diaSource
-- inputs: staged_dia_source, good_definition
-- columns:
--   rerun: name of the rerun
--   diaSourceId: as in dia_source
--   diaObjectId: as in dia_source; 0 is NULL
--   good_definition_bits: flags of the good definition that are set, as one integer; NULL when one of them is NULL
--   is_good: as in dia_source: none of the flags of the good definition is set, and none is NULL
select
    rerun,
    diaSourceId,
    nullif(diaObjectId, 0) as diaObjectId,
    good_definition_bits,
    coalesce((stored_flags & (select bit_or(good_definition.stored_bit) from good_definition)) = 0, false) as is_good
from staged_dia_source
