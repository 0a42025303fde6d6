"""spaCy: folders of ``DocBin`` files, as ``spacy train`` takes them.

Words are cut so that every entity is a span of whole tokens. ``doc.spans["medspan"]`` has all
entities, with the first code as ``kb_id``; ``doc.ents`` those that do not overlap a longer one.
What spaCy has no place for stands in ``doc.user_data["medspan"]``: id, status, codes, scores,
sections, relations.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

from spacy.tokens import Doc, DocBin, Span
from spacy.vocab import Vocab

from actors.spans import Entity
from pipelines.evaluate import GoldDocument, GoldError, GoldSpan
from pipelines.exchange.export_files import ExportFiles
from pipelines.exchange.exporter import Lost, Placed, count_facts, count_unplaced, placed
from pipelines.exchange.word_tokens import flat, tokens
from pipelines.runs.results import Result
from pipelines.tables.rows import entity_row, relation_row, section_row

KEY = "medspan"
"""Of the span group, and of what else is kept in ``user_data``."""
_DOCUMENTS = 512  # of a file, which is in memory as a whole


class DocBinExporter:
    """Writes ``documents-00000.spacy`` and so on."""

    def __init__(self, output: ExportFiles, lost: Lost) -> None:
        self._output, self._lost = output, lost
        self._vocab = Vocab()
        self._docs = DocBin(store_user_data=True)
        self._files = 0

    def write(self, result: Result, text: str) -> None:
        """Add a document to the current file."""
        count_unplaced(result, self._lost)
        count_facts(result, self._lost, "boxes")
        entities = []
        for one in placed(result.entities):
            if text[one.start : one.end].strip():
                entities.append(one)
            else:
                self._lost["entities of white space only"] += 1
        doc = self._doc(text, entities)
        spans = {one.index: self._span(doc, one) for one in entities}
        doc.spans[KEY] = list(spans.values())
        # What overlaps is lost for doc.ents only: the span group has it.
        doc.set_ents([spans[one.index] for one in flat(text, entities, Lost())])
        doc.user_data[KEY] = {
            "doc_id": result.doc_id,
            "entities": {str(one.index): _facts(one.entity) for one in entities},
            "relations": [relation_row(one) for one in result.relations],
            "sections": [section_row(one) for one in result.sections],
        }
        self._docs.add(doc)
        if len(self._docs) >= _DOCUMENTS:
            self._flush()

    def _doc(self, text: str, entities: list[Placed]) -> Doc:
        words: list[str] = []
        spaces: list[bool] = []
        starts, ends = {one.start for one in entities}, {one.end for one in entities}
        for start, end in _pieces(text, starts | ends):
            follows = bool(words) and not spaces[-1]
            if text[start:end] == " " and follows and not (start in starts or end in ends):
                spaces[-1] = True
            else:
                words.append(text[start:end])
                spaces.append(False)
        return Doc(self._vocab, words=words, spaces=spaces)

    def _span(self, doc: Doc, one: Placed) -> Span:
        code = one.entity.codes[0] if one.entity.codes else None
        span = doc.char_span(
            one.start,
            one.end,
            label=one.label,
            kb_id=f"{code.system}:{code.code}" if code else "",
            span_id=str(one.index),
            alignment_mode="strict",
        )
        if span is None:
            raise AssertionError(f"entity {one.index} does not align with tokens")
        return span

    def _flush(self) -> None:
        with self._output.part(f"documents-{self._files:05d}.spacy") as file:
            file.write(self._docs.to_bytes())
        self._docs = DocBin(store_user_data=True)
        self._files += 1

    def close(self) -> None:
        """Write the last file."""
        if len(self._docs) or not self._files:
            self._flush()


def _pieces(text: str, edges: set[int]) -> Iterator[tuple[int, int]]:
    """The words of a text and the white space between them, without a gap; the first blank after a
    word is a piece of its own."""
    at, cuts = 0, sorted(edges)
    for start, end in (*tokens(text, edges), (len(text), len(text))):
        inner = {at, start, *cuts[bisect_right(cuts, at) : bisect_left(cuts, start)]}
        if text[at:start].startswith(" "):
            inner.add(at + 1)
        yield from pairwise(sorted(inner))
        if end > start:
            yield start, end
        at = end


_FACTS = ("score", "grounding", "model", "section", "assertion", "codes")


def _facts(entity: Entity) -> dict[str, Any]:
    row = entity_row(entity)
    return {name: row[name] for name in _FACTS} | {"attributes": dict(entity.attributes)}


def read_docbin(content: bytes, name: str) -> Iterator[GoldDocument]:
    """Read a ``.spacy`` file, of which ``name`` tells errors and ids; raises GoldError.

    The spans are those of ``doc.spans["medspan"]``, or where there are none of ``doc.ents``.
    """
    stem = name.rpartition("/")[2].partition(".")[0]
    try:
        docs = list(DocBin().from_bytes(content).get_docs(Vocab()))
    except Exception as error:  # zlib, msgpack and numpy each have their own
        raise GoldError(f"{name}: not a DocBin file ({type(error).__name__})") from None
    for number, doc in enumerate(docs, start=1):
        facts = doc.user_data.get(KEY)
        id_ = facts.get("doc_id") if isinstance(facts, dict) else None
        spans = doc.spans.get(KEY, doc.ents)
        yield GoldDocument(
            id_ if isinstance(id_, str) and id_ else f"{stem}:{number}",
            doc.text,
            tuple(GoldSpan(one.start_char, one.end_char, one.label_) for one in spans),
        )
