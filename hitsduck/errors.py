"""The errors and warnings of hitsduck, all in one place.

Every error that a user can meet is a :class:`HitsduckError`, inherits the
natural builtin too, and carries one line: what is wrong, where, and what to do.
"""


class HitsduckError(Exception):
    """Base of every error raised by hitsduck."""


class RerunNotFoundError(HitsduckError, FileNotFoundError):
    """A path does not exist, or a folder holds no APDB or several."""


class NotAnApdbError(HitsduckError, ValueError):
    """A file is not an SQLite database, is damaged, or holds no APDB."""


class RerunNameError(HitsduckError, ValueError):
    """A rerun's name is empty, taken, reserved or unknown."""


class SchemaError(HitsduckError, ValueError):
    """An APDB lacks columns or tables that the question needs."""


class InstrumentError(HitsduckError, LookupError):
    """The instrument cannot be told, is unknown, or does not fit the file."""


class CameraError(HitsduckError, ValueError):
    """A camera description is unreadable or incomplete."""


class FlagError(HitsduckError, ValueError):
    """A flag or flag set is unknown, or none of it exists in a file."""


class BadValueError(HitsduckError, ValueError):
    """A cell of an APDB holds something that its column cannot hold."""


class RerunLockedError(HitsduckError, OSError):
    """Another process is writing the APDB, or it cannot be opened where it lies."""


class RerunChangedError(HitsduckError, RuntimeError):
    """An APDB changed on disk while it was being read."""


class EngineError(HitsduckError, RuntimeError):
    """DuckDB or its SQLite reader is missing, mismatched, or answers wrongly."""


class QueryError(HitsduckError, ValueError):
    """A query or condition is not one SELECT, cannot be bound, or opens files."""


class LeftOutError(QueryError):
    """A column is read that a store was told to leave out."""


class TooLargeError(QueryError):
    """An answer would hold more of large reruns than the memory that is allowed."""


class MatchError(HitsduckError, ValueError):
    """A match was asked for with an impossible radius, rule or table."""


class SimulationError(HitsduckError, ValueError):
    """A simulation was asked for with impossible parameters."""


class OutputError(HitsduckError, OSError):
    """A file cannot be written where it was asked for."""


class MissingPackageError(HitsduckError, ImportError):
    """A package that an answer was asked in, pandas say, is not installed."""


class ResultNotFoundError(HitsduckError, KeyError):
    """No row has the id that was asked for."""

    def __str__(self) -> str:
        """Return the message as it is (KeyError would quote it)."""
        return str(self.args[0]) if self.args else ""


class HitsduckWarning(UserWarning):
    """Base of every warning given by hitsduck."""


class FlagWarning(HitsduckWarning):
    """A flag of the good definition does not exist in a file and is skipped."""


class InstrumentWarning(HitsduckWarning):
    """The instrument stated by the user contradicts the file's metadata."""


class RerunCopyWarning(HitsduckWarning):
    """An APDB is read through a private copy."""


class CacheWarning(HitsduckWarning):
    """An APDB is read into a cache."""


class StaleWarning(HitsduckWarning):
    """A store holds what an APDB was before it changed."""


class IncompleteWarning(HitsduckWarning):
    """A result leaves something out, and says what."""


class OrderWarning(HitsduckWarning):
    """The order in which reruns were given is not that of the months they are called by."""


class LeftOutWarning(HitsduckWarning):
    """All columns are asked for, of which a store holds only some."""


class SameFileWarning(HitsduckWarning):
    """Two reruns read the same file under two names, so that its numbers cannot differ."""
