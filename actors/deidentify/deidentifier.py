"""The text without the patient: find, replace, move what was found beside it, look again."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from typing import TYPE_CHECKING

from actors.config.deidentify import MARKS, Category, Deidentify, ReplacementPolicy
from actors.deidentify.accent_folding import key_of
from actors.deidentify.coded_values import CodedValues
from actors.deidentify.common_words import identifies_nobody, is_cased
from actors.deidentify.dates import Dates
from actors.deidentify.detector import Detector
from actors.deidentify.findings import Finding
from actors.deidentify.keys import SecretKey
from actors.deidentify.moving import move_annotations
from actors.deidentify.name_mentions import Mentions, Terms
from actors.deidentify.names import name_words
from actors.deidentify.offset_map import Edit, OffsetMap
from actors.deidentify.replacing import Replacing
from actors.spans import Annotations, Entity

if TYPE_CHECKING:
    from actors.deidentify.page_again import PageAgain
    from actors.deidentify.page_marks import TakenMark

_WORD = re.compile(r"[^\W_]+")
_FILLERS = "xqjkvz"
_NEAR = 12  # characters within which a replacement stands beside a word
_SURE = 0.5  # score from which a model's name in small letters counts, too
_TELLING = 4  # letters or digits from which a value, such as a date or a number, is looked for


@dataclass(frozen=True, slots=True)
class Residue:
    """An identifier that the second look found at ``[start, end)`` of the new text; ``by`` names
    the rule or model."""

    start: int
    end: int
    category: Category
    by: str


@dataclass(frozen=True, slots=True)
class Deidentified:
    """A document without its identifiers.

    ``text`` is None, and ``annotations`` are empty, where there is residue and the configuration
    does not allow it. ``counts``: how many of each category were replaced by which policy, with
    marks of pages in which no word was read.
    """

    text: str | None
    map: OffsetMap
    annotations: Annotations
    counts: Mapping[tuple[Category, ReplacementPolicy], int]
    residue: tuple[Residue, ...]

    @property
    def residue_in_original(self) -> tuple[Residue, ...]:
        """The residue with its places in the original text, which is there even if no text is."""
        places = (self.map.to_old(one.start, one.end) for one in self.residue)
        return tuple(
            replace(one, start=start, end=end)
            for one, (start, end) in zip(self.residue, places, strict=True)
        )


class Deidentifier:
    """Takes identifiers out of texts by one configuration. It has no state: any number of threads
    may use it.

    ``secret``: the key of surrogates, hashes and date shifts. Raises ValueError where a policy
    needs one and there is none, or it is too short; what ``Deidentify.read_lists`` raises.
    """

    def __init__(self, config: Deidentify, secret: bytes | None = None) -> None:
        if secret is None and config.needs_key():
            raise ValueError(
                "policies surrogate, hash and shift need a key: set MEDSPAN_DEIDENTIFY_KEY"
            )
        self._config = config
        self._key = None if secret is None else SecretKey(secret)
        self._detector = Detector(config)
        self._dates = Dates(config.languages)

    def identity(self) -> dict[str, object]:
        """All that can change results except the key: the configuration, and the versions of the
        libraries for names, phone numbers and ids."""
        libraries = {name: version(name) for name in ("faker", "phonenumbers", "python-stdnum")}
        return self._config.identity() | {"libraries": libraries}

    def apply(
        self,
        text: str,
        annotations: Annotations,
        patient_id: str,
        known_names: Sequence[str] = (),
        marks: Sequence[TakenMark] = (),
    ) -> Deidentified:
        """The text without what the rules, the lists and the entities in ``annotations`` say.

        ``patient_id``: selects the surrogates and the date shift; the document's id if the patient
        is unknown. ``known_names``: names from the same patient's other documents. ``marks``: of
        its pages; their words are taken, and what its bar codes say where the text says it, too.
        The second look is by the rules; ``second_look`` adds that of models.
        """
        written = [finding for mark in marks for finding in mark.findings()]
        coded = CodedValues([mark.content for mark in marks if mark.content], self._detector)
        known_names = [*known_names, *coded.names]
        if self._config.takes(Category.ID):
            written += coded.find(text)
        findings = self._detector.find(text, annotations.entities, known_names, written)
        replacing = Replacing(self._config, self._key, self._dates, text, findings, patient_id)
        new_text, offsets = _rewritten(text, findings, replacing)
        names = [text[f.start : f.end] for f in findings if f.category is Category.NAME]
        mentions = Mentions([*names, *known_names])

        def clean(value: str) -> str:
            found = [*self._detector.find(value, (), [*names, *known_names])]
            return _rewritten(value, found, replacing)[0] if found else value

        def is_identifier(entity: Entity) -> bool:
            category = self._config.category(entity.label)
            return category is not None and self._config.takes(category)

        done = Deidentified(
            new_text,
            offsets,
            move_annotations(annotations, new_text, offsets, clean, is_identifier),
            Counter(
                [
                    *((edit.category, edit.policy) for edit in offsets.edits),
                    *((m.category, ReplacementPolicy.MASK) for m in marks if not m.spans),
                ]
            ),
            (
                *self._rules_again(text, offsets, mentions),
                *_came_back(new_text, offsets, replacing),
            ),
        )
        return self._released(done)

    def second_look(self, done: Deidentified, entities: Iterable[Entity]) -> Deidentified:
        """The same, with what models say of the new text as residue where it is no replacement."""
        if done.text is None:
            return done
        residue = self._models_again(done.text, done.map, entities)
        return self._released(replace(done, residue=(*done.residue, *residue)))

    def page_residue(
        self,
        original: str,
        edits: Iterable[Edit],
        page: PageAgain,
        entities: Iterable[Entity],
        known_names: Sequence[str] = (),
    ) -> tuple[Residue, ...]:
        """Findings that are left on a covered page, with places in ``page.text``.

        ``original`` and ``edits``: the text that OCR read first. ``entities``: what models say of
        ``page.text``. Beside what rules, lists and models find, the values that were taken are
        looked for: a box may have missed its word.
        """
        # The words in a mark, badly read, are no values to be looked for in print.
        taken = [
            (edit.category, original[edit.start : edit.end])
            for edit in edits
            if edit.category not in MARKS
        ]
        names = [value for category, value in taken if category is Category.NAME]
        values: dict[Category, tuple[str, ...]] = {}
        for category, value in taken:
            if category is not Category.NAME and sum(map(str.isalnum, value)) >= _TELLING:
                values[category] = (*values.get(category, ()), value)
        return (
            *self._rules_again(
                page.old, page.offsets, Mentions([*names, *known_names]), Terms(values)
            ),
            *self._models_again(page.text, page.offsets, entities),
        )

    def _models_again(
        self, text: str, offsets: OffsetMap, entities: Iterable[Entity]
    ) -> Iterable[Residue]:
        cased = is_cased(text, [(edit.new_start, edit.new_end) for edit in offsets.edits])
        for entity in entities:
            doubtful = cased and entity.score is not None and entity.score < _SURE
            for finding in self._detector.of_models([entity]):
                kept = not self._config.takes(finding.category)
                if not kept and _is_outside(text, offsets, finding, doubtful):
                    yield Residue(finding.start, finding.end, finding.category, finding.by)

    def _released(self, done: Deidentified) -> Deidentified:
        if done.residue and self._config.residue == "fail":
            return replace(done, text=None, annotations=Annotations())
        return done

    def _rules_again(
        self, text: str, offsets: OffsetMap, mentions: Mentions, values: Terms | None = None
    ) -> Iterable[Residue]:
        """Yield what the rules find outside the edits. Replaced values are hidden from them as
        placeholders of the same shape: any word after a surrogate given name would look like a
        surname, and with no placeholder a title would look like a name."""
        parts, at, letter = [], 0, _filler(text)
        for edit in offsets.edits:
            parts += [text[at : edit.start], _shape(text[edit.start : edit.end], letter)]
            at = edit.end
        shaped = "".join([*parts, text[at:]])
        # Between two placeholders there would be gaps that the original does not have.
        again = [*self._detector.find(shaped, gaps=False)]
        if self._config.takes(Category.NAME):
            again += mentions.find(shaped)
        again += () if values is None else values.find(shaped)
        for finding in again:
            start, end = offsets.to_new(finding.start, finding.end)
            taken = {i for e in offsets.edits_in_new(start, end) for i in range(e.start, e.end)}
            if any(text[i].isalnum() and i not in taken for i in range(finding.start, finding.end)):
                yield Residue(start, end, finding.category, finding.by)


def _filler(text: str) -> str:
    """A letter that the text does not double: beside the shape of a name, "xx" would be a mention
    of it."""
    lower = text.lower()
    return next((letter for letter in _FILLERS if 2 * letter not in lower), _FILLERS[0])


def _shape(value: str, letter: str) -> str:
    """The value with 0 for each digit and the given letter, in the same case, for each letter."""
    return "".join(
        "0" if c.isdigit() else (letter.upper() if c.isupper() else letter) if c.isalpha() else c
        for c in value
    )


def _rewritten(
    text: str, findings: Sequence[Finding], replacing: Replacing
) -> tuple[str, OffsetMap]:
    """``findings`` are disjoint and in order."""
    parts, edits = [], []
    at = length = 0
    for finding in findings:
        made, policy = replacing.replacement(finding.category, text[finding.start : finding.end])
        parts += [text[at : finding.start], made]
        start = length + finding.start - at
        length, at = start + len(made), finding.end
        edits.append(Edit(finding.start, finding.end, start, length, finding.category, policy))
    return "".join([*parts, text[at:]]), OffsetMap(edits)


def _is_outside(text: str, offsets: OffsetMap, finding: Finding, doubtful: bool) -> bool:
    """True if a letter or digit of the finding stands in no edit. Words that identify nobody do not
    count: a model may say "Dr. [NAME]", or "[NAME].\\nEdad". ``doubtful``: nor do words in small
    letters."""
    edits = offsets.edits_in_new(finding.start - _NEAR, finding.end + _NEAR)
    replaced = [(edit.new_start, edit.new_end) for edit in edits]
    taken = {i for start, end in replaced for i in range(start, end)}

    def is_beside(word: re.Match[str]) -> bool:
        gaps = (
            (end, word.start()) if end <= word.start() else (word.end(), start)
            for start, end in replaced
        )
        return any(_WORD.search(text, *gap) is None for gap in gaps)

    return any(
        not taken.issuperset(range(*word.span()))
        and not identifies_nobody(word, finding.category, doubtful, is_beside(word))
        for word in _WORD.finditer(text, finding.start, finding.end)
    )


def _came_back(new_text: str, offsets: OffsetMap, replacing: Replacing) -> Iterable[Residue]:
    """Edits that are a real value of the document after all, unless their policy keeps parts."""
    for edit in offsets.edits:
        if edit.policy in (ReplacementPolicy.GENERALISE, ReplacementPolicy.SHIFT):
            continue
        value = new_text[edit.new_start : edit.new_end]
        if edit.category is Category.NAME and not name_words(value):
            continue  # a title alone
        if key_of(value) in replacing.taken:
            yield Residue(edit.new_start, edit.new_end, edit.category, "came_back")
