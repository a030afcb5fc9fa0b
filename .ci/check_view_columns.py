"""Compare the columns that every view's header promises with what DuckDB describes.

Prints each difference and returns 1 where there is one.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from apdb_files import make_apdb  # noqa: E402

import hitsduck  # noqa: E402
from hitsduck import views  # noqa: E402
from hitsduck.quoting import quote_identifier  # noqa: E402


def differences(reruns: hitsduck.Reruns, checked: Iterable[views.View]) -> list[str]:
    """Return what differs, of each rerun's views and of those over all reruns."""
    found = []
    for view in checked:
        promised = views.documented_columns(view)
        for rerun in (None, *reruns.names):
            name = quote_identifier(view.name)
            relation = name if rerun is None else f"{quote_identifier(rerun)}.{name}"
            described = reruns.sql(f"select * from {relation} limit 0").columns
            if described == promised:
                continue
            where = f"{view.layer}/{view.name}.sql, {rerun or 'all reruns'}"
            lacking = [column for column in promised if column not in described]
            unsaid = [column for column in described if column not in promised]
            order = "" if lacking or unsaid else "; the order differs"
            found.append(
                f"{where}: documented and not there: {', '.join(lacking) or 'none'}; "
                f"there and not documented: {', '.join(unsaid) or 'none'}{order}"
            )
    return found


def main() -> int:
    """Check an APDB of the oldest and one of the newest generation."""
    with tempfile.TemporaryDirectory() as folder:
        files = {
            generation: make_apdb(Path(folder) / f"{generation}.db", generation=generation)
            for generation in ("2020", "10.0.0")
        }
        with hitsduck.open_reruns(files, instrument="DECam") as reruns:
            found = differences(reruns, views.views())
    for difference in found:
        print(difference)
    if not found:
        print(f"{len(views.views())} views have the columns that their headers promise")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
