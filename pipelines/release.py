"""De-identify a document as the last stage: what may leave in its place.

Batch and HTTP both call ``Releaser.release``, so that the same document gives the same text, edits
and entities.
"""

from __future__ import annotations

import hmac
import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import lru_cache
from typing import TYPE_CHECKING

from actors.config import ConfigError
from actors.extras import optional_imports
from actors.spans import Annotations, Entity, Extraction, Failure, Status
from pipelines.deidentification import KEY, Deidentification, secret_from_environment
from pipelines.stages import Stage

if TYPE_CHECKING:
    from actors.deidentify import Deidentified, Residue
    from actors.deidentify.page_again import PageAgain
    from actors.deidentify.patches import Patch
    from actors.pages import DecodeLimits, OcrResult

log = logging.getLogger(__name__)

_KEPT = 4
_CHECK = 16
_ID = 32
_ENDINGS = {"dicom": "dcm"}
TRUNCATED = "Truncated"
"""Error type of a document that a model read in part only: its names may not all be known."""


class ReleaseStatus(StrEnum):
    """True if a de-identified document has a text."""

    OK = "ok"
    RESIDUE = "residue"
    """The second look found an identifier. There is no text, unless the configuration allows it."""
    FAILED = "failed"
    """The document failed or a model read it in part, so its identifiers are not known."""


@dataclass(frozen=True, slots=True)
class Release:
    """The part of a document that may be released. ``done.text`` is None if nothing may.

    ``on_page``: what the second look found on the covered pages, with places in the text that OCR
    read there.
    """

    status: ReleaseStatus
    error_type: str
    done: Deidentified
    on_page: tuple[Residue, ...] = ()


@dataclass(frozen=True, slots=True)
class CoveredPages:
    """A file of pages without identifiers; ``kind`` is its ending, such as pdf. It may leave once
    the second look has found nothing on it."""

    content: bytes
    kind: str
    patches: tuple[Patch, ...]


class Releaser:
    """De-identifies documents by the stage's configuration and the key; any number of threads may
    use it. Raises ConfigError where the key is missing or too short, or a list cannot be read."""

    def __init__(self, config: Deidentification, secret: bytes | None) -> None:
        if secret is None:
            raise ConfigError(
                f"the stage deidentify needs a key: set {KEY} on this machine and on every worker, "
                "for example to the output of `openssl rand -hex 32`"
            )
        with optional_imports("the stage deidentify"):
            from actors.deidentify import Deidentifier
            from actors.deidentify.keys import SecretKey

        try:
            self._key = SecretKey(secret)
            self._deidentifier = Deidentifier(config, secret)
        except (OSError, ValueError) as error:
            raise ConfigError(f"deidentify: {error}") from None
        self.config = config

    @property
    def key_check(self) -> str:
        """16 hex digits that tell one key from another and nothing else about it."""
        return self._key.digest("check").hex()[:_CHECK]

    @property
    def libraries(self) -> dict[str, str]:
        """Versions of the libraries that know names, phone numbers and ids."""
        found = self._deidentifier.identity()["libraries"]
        assert isinstance(found, dict)
        return found

    def release(
        self,
        text: str | None,
        status: Status,
        error_type: str,
        annotations: Annotations,
        patient: str,
        names: Sequence[str] = (),
        reading: OcrResult | None = None,
    ) -> Release:
        """De-identify a document.

        ``status`` and ``error_type`` are those of the document: nothing leaves of one that failed
        or was truncated, because a model that would have found a name may not have. ``patient``:
        the patient's id, or the document's if the patient is unknown. ``names``: known names to
        replace. ``reading``: what OCR read, if the text is that of pages.
        """
        from actors.deidentify.page_marks import taken_marks

        if text is None or status is Status.FAILED:
            return withheld(error_type)
        if status is Status.TRUNCATED:
            return withheld(TRUNCATED)
        try:
            marks = () if reading is None else taken_marks(reading, self.config)
            done = self._deidentifier.apply(text, annotations, patient, names, marks)
        except Exception as error:
            # One document must not end a run. The message could quote the document.
            log.error("a document was not de-identified: %s", type(error).__name__)
            return withheld(type(error).__name__)
        return Release(ReleaseStatus.RESIDUE if done.residue else ReleaseStatus.OK, "", done)

    def second_look(self, release: Release, extractions: Sequence[Extraction]) -> Release:
        """The release after models have read its text again: with what they still find as residue.

        Nothing leaves of a text that a model could not read, or not to its end.
        """
        if release.done.text is None:
            return release
        if (failed := _unread(extractions)) is not None:
            return failed
        done = self._deidentifier.second_look(release.done, _entities(extractions))
        return Release(ReleaseStatus.RESIDUE if done.residue else ReleaseStatus.OK, "", done)

    def with_bar_codes(
        self,
        content: bytes,
        reading: OcrResult,
        limits: DecodeLimits,
        cancelled: Callable[[], bool] = lambda: False,
    ) -> OcrResult | Failure:
        """The reading with the bar codes of a document's pages among its marks, unless they are
        kept; parameters as those of ``cover``. For a document whose pages will be covered."""
        from actors.deidentify.page_marks import with_bar_codes
        from actors.pages import PageError

        try:
            return with_bar_codes(content, reading, limits, self.config, cancelled)
        except PageError as error:
            return Failure(type(error).__name__, str(error))
        except Exception as error:
            # One document must not end a run. The message could quote the document.
            log.error("pages were not searched for bar codes: %s", type(error).__name__)
            return Failure(type(error).__name__, "the pages could not be searched for bar codes")

    def cover(
        self,
        release: Release,
        content: bytes,
        reading: OcrResult,
        limits: DecodeLimits,
        cancelled: Callable[[], bool] = lambda: False,
    ) -> CoveredPages | Failure:
        """Cover on a document's pages what was replaced in its text, and the marks to mask.

        ``reading``: what OCR read, in files of these ``limits``. ``cancelled``: polled; once it
        returns True, the result is of no use.
        """
        from actors.deidentify.page_marks import taken_marks
        from actors.deidentify.page_redaction import burnt
        from actors.deidentify.patches import patches_of
        from actors.pages import PageError

        assert release.done.text is not None
        marks = taken_marks(reading, self.config)
        patches = patches_of(reading, release.done.text, release.done.map, marks)
        try:
            made, kind = burnt(content, patches, limits=limits, key=self._key, cancelled=cancelled)
        except PageError as error:
            return Failure(type(error).__name__, str(error))
        except Exception as error:
            # One document must not end a run. The message could quote the document.
            log.error("pages were not covered: %s", type(error).__name__)
            return Failure(type(error).__name__, "the pages could not be covered")
        return CoveredPages(made, _ENDINGS.get(kind, kind), tuple(patches))

    def page_look(
        self,
        release: Release,
        original: str,
        page: PageAgain,
        extractions: Sequence[Extraction],
        names: Sequence[str] = (),
    ) -> Release:
        """The release after OCR, and models by ``extractions``, have read the covered pages again:
        what rules, lists and models still find there is residue.

        ``original``: the document's text; ``names`` as for ``release``.
        """
        if release.done.text is None:
            return release
        if (failed := _unread(extractions)) is not None:
            return failed
        done, found = release.done, _entities(extractions)
        residue = self._deidentifier.page_residue(original, done.map.edits, page, found, names)
        if not residue:
            return release
        if self.config.residue == "fail":
            done = replace(done, text=None, annotations=Annotations())
        return Release(ReleaseStatus.RESIDUE, "", done, residue)

    def document_id(self, id_: str, derived: bool) -> str:
        """The id of the de-identified document; ``derived``: the id holds the path of a file."""
        if self.config.doc_ids == "keep" and not derived:
            return id_
        return self.pseudonym("document", id_)

    def pseudonym(self, kind: str, value: str) -> str:
        """32 hex digits that are the same for equal values of a kind, by the key."""
        return self._key.digest("pseudonym", kind, value).hex()[:_ID]


def _unread(extractions: Sequence[Extraction]) -> Release | None:
    """The release where a model did not read a text, or not to its end; None if all did."""
    for extraction in extractions:
        if extraction.failure is not None:
            return withheld(extraction.failure.type)
        if extraction.status is Status.TRUNCATED:
            return withheld(TRUNCATED)
    return None


def _entities(extractions: Sequence[Extraction]) -> list[Entity]:
    return [entity for extraction in extractions for entity in extraction.entities]


def withheld(error_type: str) -> Release:
    """The release of a document of which nothing leaves."""
    from actors.deidentify import Deidentified, OffsetMap

    nothing = Deidentified(None, OffsetMap(()), Annotations(), {}, ())
    return Release(ReleaseStatus.FAILED, error_type, nothing)


def releaser(stages: Sequence[Stage]) -> Releaser | None:
    """The Releaser of a pipeline's stages, or None if it does not de-identify; cached per process.

    Raises ConfigError as Releaser.
    """
    sections = (s.config for s in stages if isinstance(s.config, Deidentification))
    return next(map(_cached, sections), None)


def _cached(section: Deidentification) -> Releaser:
    content = json.dumps(section.model_dump(mode="json"), sort_keys=True)
    return _releaser(content, secret_from_environment())


@lru_cache(maxsize=_KEPT)
def _releaser(content: str, secret: bytes | None) -> Releaser:
    return Releaser(Deidentification.model_validate_json(content), secret)


def releaser_with(stages: Sequence[Stage], key_check: str) -> Releaser | None:
    """The same, of a run. Raises ConfigError also where the run was begun with another key."""
    found = releaser(stages)
    if found is not None and not hmac.compare_digest(found.key_check, key_check):
        raise ConfigError(
            f"{KEY} on this machine is not the key that the run was begun with; set that key, or "
            "discard the run and begin a new one"
        )
    return found


def release_identity(section: Deidentification) -> list[str]:
    """All that can change results except the configuration: the key, and the versions of the
    libraries for names, phone numbers and ids."""
    found = _cached(section)
    return [found.key_check, *(f"{name} {version}" for name, version in found.libraries.items())]
