-- purpose: How often each DiaSource flag is set.
-- grain: one row per rerun and flag
-- inputs: dia_source, file_flag
-- columns:
--   rerun: name of the rerun
--   flag: name of the flag
--   is_bad: the flag belongs to the good definition
--   is_in_file: the file's generation holds the flag
--   n_dia_sources: all sources
--   n_set: sources with the flag set
--   n_null: sources whose flag is NULL
--   fraction_set: n_set over n_dia_sources
with counted as (
    select
        count(*) as n_dia_sources,
        struct_pack(
            n_set := count_if(columns('^(pixelFlags.*|.*_flag(_.*)?|glint_trail)$')),
            n_filled := count(columns('^(pixelFlags.*|.*_flag(_.*)?|glint_trail)$'))
        )
    from dia_source
),

long as (
    unpivot counted
    on columns(* exclude (n_dia_sources))
    into name flag value numbers
)

select
    file_flag.rerun,
    file_flag.flag,
    file_flag.is_bad,
    file_flag.is_in_file,
    long.n_dia_sources,
    cast(coalesce(long.numbers.n_set, 0) as bigint) as n_set,
    long.n_dia_sources - long.numbers.n_filled as n_null,
    coalesce(long.numbers.n_set, 0) / nullif(long.n_dia_sources, 0) as fraction_set
from file_flag
inner join long using (flag)
