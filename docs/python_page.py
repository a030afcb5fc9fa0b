"""The page of what can be called from Python, written from the docstrings."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Collection, Iterator
from functools import cached_property
from importlib import import_module
from typing import Any

#: Heading, what stands below it, and the classes of that section.
CLASSES = (
    ("Reruns", ("hitsduck.reruns.Reruns", "hitsduck.rerun.Rerun", "hitsduck.results.Result")),
    (
        "Two reruns, or many",
        (
            "hitsduck.comparison.Comparison",
            "hitsduck.edges.EdgeExcess",
            "hitsduck.explanation.Explanation",
            "hitsduck.verdict.Decomposition",
            "hitsduck.turnover.Turnover",
            "hitsduck.turnover.ObjectMatch",
            "hitsduck.series.Series",
            "hitsduck.series.Uncompared",
        ),
    ),
    (
        "Other catalogues",
        ("hitsduck.outside.CatalogMatch", "hitsduck.src_catalogs.SrcCounts"),
    ),
    ("Cameras", ("hitsduck.cameras.Camera", "hitsduck.cameras.Detector")),
)
#: What has many options -> where they are documented; the first has the text.
FUNCTIONS = {
    "hitsduck.open_reruns": ("hitsduck.opening.open_reruns",),
    "Reruns.compare": ("hitsduck.large.compare",),
    "Reruns.compare_all": ("hitsduck.series.compare_all",),
    "Reruns.series": ("hitsduck.series.series",),
    "Comparison.explain": (
        "hitsduck.explanation.explain",
        "hitsduck.comparison.Comparison.explain",
    ),
    "Reruns.compare_objects": ("hitsduck.turnover.match_objects",),
    "Reruns.match_catalog": ("hitsduck.outside.match_catalog",),
    "hitsduck.report.write_report": ("hitsduck.report.write_report",),
    "hitsduck.gallery.save": ("hitsduck.gallery.save",),
    "hitsduck.simulate": ("hitsduck.simulator.simulate",),
}
#: What a method gives to the function behind it by itself.
GIVEN = {
    "Reruns": {"reruns"},
    "Comparison": {"sources", "images", "geometry", "flags"},
}
#: Methods that modules of hitsduck call on each other, not for users.
INTERNAL = {
    "Reruns": {
        "attached",
        "connection",
        "few_rows",
        "leave_visits",
        "lookup",
        "memory_limit_bytes",
        "original",
        "query",
        "rewrite_workspace",
        "scope",
        "watching",
    },
    "Result": {"of_rows", "of_tuples"},
    "Comparison": {"evidence"},
    "Decomposition": {"of"},
}
_HEADING = re.compile(r"^(\w[\w ]*)\n-+\n", re.MULTILINE)


def python_page() -> str:
    """Return docs/python.md."""
    from hitsduck.gallery import CHARTS

    parts = [
        "# In Python\n",
        "Written from the docstrings by docs/make_docs.py; `help(...)` in Python says more of "
        "each. `hitsduck.open_reruns` is the door: what it returns leads to all else. Options "
        "after `*` are given by name.\n",
        *_function("hitsduck.open_reruns"),
    ]
    for heading, paths in CLASSES:
        parts.append(f"## {heading}\n")
        for path in paths:
            parts += _class(_named(path))
    parts.append("## Charts\n")
    parts.append(
        "`reruns.chart(name)` draws one, `reruns.chart_data(name)` gives its numbers, "
        "`reruns.charts_data(names)` those of several, worked out side by side; "
        "[the gallery](gallery.md) shows them.\n"
    )
    parts.append("\n".join(f"- `{name}`: {one.purpose}" for name, one in CHARTS.items()) + "\n")
    parts.append("Options of every chart:\n")
    parts.append(_listed(_sections(_named("hitsduck.gallery.Wanted"))["Attributes"], {"reruns"}))
    parts.append("## Options in full\n")
    for shown in list(FUNCTIONS)[1:]:
        parts += _function(shown)
    parts.append("## Errors and warnings\n")
    parts.append(
        "Each error is a `HitsduckError` and the builtin that it stands for, and has one line.\n"
    )
    parts += _errors()
    return "\n".join(parts)


def _named(path: str) -> Any:
    module, _, name = path.rpartition(".")
    if module.rpartition(".")[2][0].isupper():  # a method
        return getattr(_named(module), name)
    return getattr(import_module(module), name)


def _class(one: type) -> Iterator[str]:
    sections = _sections(one)
    yield f"### `{one.__name__}`\n"
    yield sections[""]
    if "Attributes" in sections:
        yield f"Attributes:\n\n{_listed(sections['Attributes'])}"
    for heading, members in (("Worked out when asked for", True), ("Methods", False)):
        lines = "\n".join(_members(one, properties=members))
        if lines:
            yield f"{heading}:\n\n{lines}\n"


def _members(one: type, *, properties: bool) -> Iterator[str]:
    """Go through the public methods, or properties, of a class in order of the source."""
    for name, member in vars(one).items():
        if name.startswith("_") and name != "__getitem__":
            continue
        if name in INTERNAL.get(one.__name__, ()):
            continue
        if isinstance(member, property | cached_property):
            function = member.fget if isinstance(member, property) else member.func
            if properties:
                yield f"- `{name}`: {_summary(function)}"
        elif properties:
            continue
        elif inspect.isfunction(member):
            full = f"{one.__name__}.{name}"
            told = _summary(member)
            if full in FUNCTIONS:
                anchor = full.lower().replace(".", "")
                told = f"{told.split('; see ')[0].rstrip('.')} ([options](#{anchor}))."
            yield f"- `{_signature(name, member)}`: {told}"
        elif isinstance(member, classmethod | staticmethod):
            function = member.__func__
            yield f"- `{one.__name__}.{_signature(name, function)}`: {_summary(function)}"


def _function(shown: str) -> Iterator[str]:
    first, *others = map(_named, FUNCTIONS[shown])
    sections = _sections(first)
    owner, _, name = shown.rpartition(".")
    given = GIVEN.get(owner, set())
    yield f"### `{shown}`\n"
    yield f"`{_signature(name, first, without=given)}`\n"
    yield sections[""]
    items: dict[str, str] = {}
    for function in (first, *others):
        listed = _listed(_sections(function)["Parameters"], given | {"**options"})
        items |= {item.split("`")[1]: item for item in listed.splitlines()}
    yield "\n".join(items.values()) + "\n"
    if "Returns" in sections:
        yield f"Returns:\n\n{_listed(sections['Returns'])}"


def _errors() -> Iterator[str]:
    from hitsduck import errors

    found = [one for one in vars(errors).values() if isinstance(one, type)]
    yield "\n".join(f"- `{one.__name__}`: {_summary(one)}" for one in found) + "\n"


def _summary(one: Any) -> str:
    return _plain((inspect.getdoc(one) or "").split("\n\n")[0])


def _sections(one: Any) -> dict[str, str]:
    """Return a numpydoc text by its headings; what stands before the first has none."""
    text = inspect.getdoc(one) or ""
    parts = _HEADING.split(text)
    found = {"": "\n\n".join(map(_plain, parts[0].strip().split("\n\n"))) + "\n"}
    return found | dict(zip(parts[1::2], parts[2::2], strict=True))


def _listed(section: str, without: set[str] | None = None) -> str:
    """Return a section of ``name : type`` and indented texts as a list."""
    items: list[str] = []
    for line in section.strip("\n").splitlines():
        if not line.strip():
            continue
        if not line.startswith(" "):
            names, _, kind = line.partition(" : ")
            shown = ", ".join(f"`{name}`" for name in names.split(", "))
            items.append(f"- {shown}" + (f" ({_plain(kind)})" if kind else "") + ":")
        elif items:
            items[-1] += f" {line.strip()}"
    kept = [item for item in items if not any(item.startswith(f"- `{w}`") for w in without or ())]
    return "\n".join(_plain(item).removesuffix(":") for item in kept) + "\n"


def _plain(text: str) -> str:
    """Return a docstring's text as Markdown, in one line."""
    text = re.sub(r":\w+:`~?([\w.]+)`", lambda m: f"`{m[1].rpartition('.')[2]}`", text)
    text = text.replace("``", "`")
    return " ".join(text.split())


def _signature(name: str, function: Callable[..., Any], *, without: Collection[str] = ()) -> str:
    """Return how something is called: names and defaults; types are in ``help()``."""
    signature = inspect.signature(function)
    given = []
    keyword_only = False
    for parameter in signature.parameters.values():
        if parameter.name in ("self", "cls", *without):
            continue
        if parameter.kind is parameter.VAR_POSITIONAL:
            keyword_only = True
            given.append(f"*{parameter.name}")
        elif parameter.kind is parameter.VAR_KEYWORD:
            given.append(f"**{parameter.name}")
        else:
            if parameter.kind is parameter.KEYWORD_ONLY and not keyword_only:
                keyword_only = True
                given.append("*")
            has_default = parameter.default is not parameter.empty
            given.append(parameter.name + (f"={_value(parameter.default)}" if has_default else ""))
    returned = signature.return_annotation
    arrow = "" if returned in (signature.empty, None, "None") else f" -> {returned}"
    if name == "__getitem__":
        return f"[{', '.join(given)}]{arrow}"
    return f"{name}({', '.join(given)}){arrow}"


def _value(default: object) -> str:
    return f'"{default}"' if isinstance(default, str) else repr(default)
