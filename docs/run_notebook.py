"""Execute the notebook and keep its outputs, small: ``python docs/run_notebook.py``.

The parameters are read from the environment: HITSDUCK_NOTEBOOK_SCALE (1 is full size) and
HITSDUCK_NOTEBOOK_FOLDER (where simulated reruns are, or will be written). Needs the extra
``docs``: ``python -m pip install -c constraints.txt '.[docs]'``.
"""

from __future__ import annotations

import base64
import io
import os
import sys
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOK = ROOT / "docs" / "notebooks" / "DM-25125.ipynb"
#: Colours of a picture that is kept: a chart has few.
N_COLOURS = 128


def executed(path: Path, *, timeout_s: int = 600) -> Any:
    """Return a notebook with fresh outputs, run by this Python on this checkout."""
    notebook = nbformat.read(path, as_version=4)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    paths = [str(ROOT), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
    kept = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, paths))
    try:
        client = NotebookClient(
            notebook,
            timeout=timeout_s,
            kernel_name="python3",
            record_timing=False,
            resources={"metadata": {"path": str(path.parent)}},
        )
        client.create_kernel_manager()
        # The kernel of the name may be another Python's.
        client.km.kernel_spec.argv[0] = sys.executable
        client.execute()
    finally:
        if kept is None:
            del os.environ["PYTHONPATH"]
        else:
            os.environ["PYTHONPATH"] = kept
    return notebook


def small(png: bytes) -> bytes:
    """Return a picture with a palette."""
    from PIL import Image

    picture = Image.open(io.BytesIO(png)).convert("RGB")
    written = io.BytesIO()
    picture.quantize(N_COLOURS, dither=Image.Dither.NONE).save(written, "png", optimize=True)
    return written.getvalue()


def main() -> None:
    """Execute the notebook in place."""
    notebook = executed(NOTEBOOK)
    notebook.metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
        for output in cell.get("outputs", ()):
            data = output.get("data", {})
            if "image/png" in data:
                data["image/png"] = base64.b64encode(
                    small(base64.b64decode(data["image/png"]))
                ).decode("ascii")
    nbformat.validate(notebook)
    nbformat.write(notebook, NOTEBOOK)


if __name__ == "__main__":
    main()
