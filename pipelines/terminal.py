"""Terminal output of `medspan extract`, and the summary of `medspan run`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich import box
from rich.console import Group, RenderableType
from rich.style import Style
from rich.table import Table
from rich.text import Text

from actors.spans import Box, Entity, Grounding, Relation
from pipelines.markup.colours import looks
from pipelines.markup.layers import pieces
from pipelines.markup.numbers import duration, rate
from pipelines.markup.status_words import status_looks, status_words

_INK = "#10151d"
# Text may contain control characters that a terminal would execute (ESC can rewrite the screen or
# the clipboard), so each is shown as its Unicode control picture. Newlines and tabs stay.
_CONTROLS = {c: 0x2400 + c for c in range(0x20) if c not in (0x09, 0x0A)} | {
    0x7F: 0x2421,
    **dict.fromkeys(range(0x80, 0xA0), 0xFFFD),
    **dict.fromkeys(range(0xD800, 0xE000), 0xFFFD),
}


def entity_table(entities: Sequence[Entity], relations: Sequence[Relation] = ()) -> Table:
    """Entities as a table; ungrounded ones are highlighted.

    Status, codes, related entities and attributes share a details column, one per line. The
    grounding column only appears if some entity is not grounded exactly.
    """
    shown = Table(box=box.SIMPLE_HEAD)
    longest = max((len(entity.label) for entity in entities), default=0)
    shown.add_column("Label", overflow="fold", min_width=min(longest, 20) + 2)
    shown.add_column("Text", overflow="fold", min_width=12)
    shown.add_column("Span", justify="right", no_wrap=True)
    shown.add_column("Score", justify="right", no_wrap=True)
    inexact = any(entity.grounding is not Grounding.EXACT for entity in entities)
    if inexact:
        shown.add_column("Grounding", no_wrap=True)
    pictured = any(entity.boxes for entity in entities)
    if pictured:
        shown.add_column("Page: box", no_wrap=True)
    details = [_details(entity) for entity in entities]
    for one in relations:
        words = _safe(" ".join(entities[one.tail].text.split()))
        details[one.head].append(Text(f"{one.type}: {words}"))
    if any(details):
        shown.add_column("Details", overflow="fold", min_width=16)
    look = looks(entity.label for entity in entities)
    for entity, lines in zip(entities, details, strict=True):
        row: list[RenderableType] = [
            Text.assemble((f" {_safe(entity.label)} ", _style(look[entity.label].hue.dark))),
            Text(_safe(" ".join(entity.text.split()))),
            "–" if entity.start is None else f"{entity.start}–{entity.end}",
            "" if entity.score is None else f"{entity.score:.3f}",
        ]
        if inexact:
            style = "bold yellow" if entity.start is None else "dim"
            row.append(Text(str(entity.grounding), style=style))
        if pictured:
            row.append("\n".join(_place(one) for one in entity.boxes))
        if any(details):
            row.append(Text("\n").join(lines))
        shown.add_row(*row)
    return shown


def _details(entity: Entity) -> list[Text]:
    lines = []
    if words := status_words(entity):
        styles = (_STATUS_STYLE[word] for word in words if word in _STATUS_STYLE)
        lines.append(Text(", ".join(words), style=next(styles, "yellow")))
    lines += [Text(f"{code.system} {code.code}: {_safe(code.term)}") for code in entity.codes]
    return lines + [Text(_safe(f"{k}: {v}")) for k, v in entity.attributes.items()]


_STATUS_STYLE = {"negated": "bold red", "family": "italic magenta", "other": "italic magenta"}


def _place(one: Box) -> str:
    return f"{one.page + 1}: {one.x0:.0f},{one.y0:.0f} {one.x1:.0f},{one.y1:.0f}"


def highlighted(text: str, entities: Sequence[Entity], *, colour: bool = True) -> Text:
    """The text with its entities highlighted and labelled; ungrounded ones are listed below.

    Of overlapping entities the innermost sets the colour, and each one shows its label and status
    at its end. Without ``colour`` (a pipe, NO_COLOR) entities are bracketed:
    [insulin glargine|Drug], [fever|Symptom, negated].
    """
    placed = [e for e in entities if e.start is not None and e.end is not None]
    look = looks(entity.label for entity in entities)
    shown = Text(overflow="fold")
    spans = [(e.start, e.end) for e in placed if e.start is not None and e.end is not None]
    for piece in pieces(len(text), spans):
        words = _safe(text[piece.start : piece.end].replace("\r\n", "\n"))
        if text[piece.end - 1 : piece.end + 1] == "\r\n":
            words = words.removesuffix("\u240d")  # a CRLF split by a span boundary
        covering = [placed[i] for i in piece.spans]
        ending = [e for e in reversed(covering) if e.end == piece.end]
        if colour:
            # Dark text on a light hue is readable on black and on white terminals.
            style = (
                _style(look[covering[-1].label].hue.dark, nested=len(covering) > 1)
                + _status_style(covering)
                if covering
                else Style()
            )
            shown.append(words, style)
            for entity in ending:
                paper = Style(color=_INK, bgcolor=look[entity.label].hue.dark, italic=True)
                shown.append(f" {_name(entity)} ", paper)
        else:
            opened = "[" * sum(e.start == piece.start for e in covering)
            shown.append(opened + words + "".join(f"|{_name(e)}]" for e in ending))
    for entity in entities:
        if entity.start is None:
            shown.append(
                f"\nnot found in the text: {_safe(entity.text)} ", "yellow" if colour else ""
            )
            shown.append(f"({_safe(entity.label)})", "bold yellow" if colour else "")
    return shown


def run_table(
    *,
    documents_ok: int,
    documents_truncated: int,
    documents_failed: int,
    seconds: float,
    entity_counts: Mapping[str, int],
    report: str = "",
    failures: Mapping[str, int] | None = None,
    carried_over: int = 0,
) -> RenderableType:
    """Summary of a run: documents by status, throughput, entities per label, report path.

    ``failures``: failed documents by error type. ``carried_over``: documents that keep the results
    of an earlier run.
    """
    total = documents_ok + documents_truncated + documents_failed
    top = Table.grid(padding=(0, 3))
    top.add_column(justify="right", style="bold")
    top.add_column()
    top.add_row(f"{documents_ok:,}", "documents ok")
    if documents_truncated:
        top.add_row(f"{documents_truncated:,}", Text("documents truncated", style="yellow"))
    types = ", ".join(f"{count:,} {name}" for name, count in (failures or {}).items())
    top.add_row(
        f"{documents_failed:,}",
        Text(
            f"documents failed{': ' if types else ''}{types}",
            style="bold red" if documents_failed else "",
        ),
    )
    if carried_over:
        top.add_row(f"{carried_over:,}", "of these unchanged, with the results of an earlier run")
    top.add_row(
        rate(total, seconds),
        f"documents/s, {duration(seconds)} in all",
    )
    top.add_row(f"{sum(entity_counts.values()):,}", "entities")
    parts: list[RenderableType] = [top]
    if entity_counts:
        parts.append(_per_label(entity_counts))
    if report:
        parts.append(Text.assemble("Report: ", (report, "bold"), overflow="fold"))
    return Group(*parts)


def _per_label(counts: Mapping[str, int]) -> Table:
    shown = Table(box=box.SIMPLE_HEAD)
    shown.add_column("Label")
    shown.add_column("Entities", justify="right")
    shown.add_column("", width=24)
    look, most = looks(counts), max(counts.values()) or 1
    for label, count in sorted(counts.items(), key=lambda pair: (-pair[1], pair[0])):
        bar = "━" * max(round(24 * count / most), 1 if count else 0)
        shown.add_row(Text(_safe(label)), f"{count:,}", Text(bar, style=look[label].hue.dark))
    return shown


def _style(paper: str, *, nested: bool = False) -> Style:
    return Style(color=_INK, bgcolor=paper, underline=nested)


def _status_style(entities: Sequence[Entity]) -> Style:
    drawn = {look for entity in entities for look in status_looks(status_words(entity))}
    return Style(
        strike="negated" in drawn or None,
        underline="unsure" in drawn or None,
        italic="historical" in drawn or None,
    )


def _name(entity: Entity) -> str:
    return ", ".join([_safe(entity.label), *status_words(entity)])


def _safe(text: str) -> str:
    return text.translate(_CONTROLS)
