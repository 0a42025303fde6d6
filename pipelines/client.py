"""HTTP client for a medspan server; used by ``medspan extract --url``.

Extraction is idempotent, so the client retries every transport failure.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any, Literal, TypeVar

from actors.closeable import Closeable
from actors.extras import optional_imports
from actors.guideline import Guideline
from actors.spans import (
    Assertion,
    Box,
    Cell,
    Code,
    Cue,
    Document,
    Entity,
    Experiencer,
    Extraction,
    Failure,
    FormField,
    Grounding,
    MarkKind,
    PageMark,
    PageTable,
    Relation,
    Section,
    Status,
    Usage,
    worst,
)

with optional_imports("the HTTP client"):
    import httpx2
    from tenacity import RetryCallState, Retrying, retry_if_exception, stop_after_attempt
    from tenacity.wait import wait_random_exponential

_RETRIED = (429, 502, 503)
_PER_REQUEST, _REQUEST_CHARACTERS = 16, 500_000
_SECTION_CHARACTERS = 250  # so that no request has more sections than a server takes
_Answer = TypeVar("_Answer")
_BACKOFF = wait_random_exponential(multiplier=0.2, max=10)


class ServerRefused(Exception):
    """The server rejected the request; ``code`` is from the error envelope. Holds no text."""

    def __init__(self, status: int, code: str, message: str, retry_after: float = 0.0) -> None:
        super().__init__(f"{message} ({status} {code})")
        self.status, self.code, self.retry_after = status, code, retry_after


class ServerUnreachable(Exception):
    """No response after all attempts."""


@dataclass(frozen=True, slots=True)
class ClientAnswer:
    """The result of a document: its merged entities, and each model's Extraction without entities.

    ``text`` is the text that offsets refer to, for images the OCR text. ``failure``: why the
    document could not be read. ``problems``: what of a file was left out or is doubtful.
    ``tables``, ``fields`` of forms and ``marks`` are those of its pages.
    """

    document_id: str
    text: str | None
    failure: Failure | None
    entities: tuple[Entity, ...]
    steps: tuple[Extraction, ...]
    sections: tuple[Section, ...] = ()
    relations: tuple[Relation, ...] = ()
    abbreviations: Mapping[str, str] = field(default_factory=dict)
    problems: tuple[str, ...] = ()
    tables: tuple[PageTable, ...] = ()
    fields: tuple[FormField, ...] = ()
    marks: tuple[PageMark, ...] = ()

    @property
    def status(self) -> Status:
        """The worst of the steps."""
        if self.failure is not None:
            return Status.FAILED
        return worst(step.status for step in self.steps)


@dataclass(frozen=True, slots=True)
class Replacement:
    """A replacement: [start, end) of the original became [new_start, new_end) of the new text."""

    start: int
    end: int
    new_start: int
    new_end: int
    category: str
    policy: str


@dataclass(frozen=True, slots=True)
class DeidentifiedAnswer:
    """A document without its identifiers; ``text`` is None unless ``status`` is ok, or residue and
    the server lets it pass. Entities and sections have places in the new text. ``counts``: how
    many of a category were replaced by a policy. ``file``: the covered pages, if they were asked
    for and may leave; ``file_kind``: png, tiff, pdf or dcm."""

    document_id: str
    status: Literal["ok", "residue", "failed"]
    failure: Failure | None
    text: str | None
    replacements: tuple[Replacement, ...]
    entities: tuple[Entity, ...]
    sections: tuple[Section, ...]
    relations: tuple[Relation, ...]
    counts: Mapping[tuple[str, str], int] = field(default_factory=dict)
    file: bytes | None = None
    file_kind: str | None = None


class Client(Closeable):
    """A connection to a server. It is a context manager and thread-safe.

    ``timeout_s``: deadline of one request, also sent to the server. ``attempts``: maximum attempts
    if the server is busy or unreachable.
    """

    def __init__(
        self,
        url: str,
        token: str | None = None,
        *,
        timeout_s: float = 60.0,
        attempts: int = 6,
        connections: int = 4,
        transport: httpx2.BaseTransport | None = None,
    ) -> None:
        headers = {"authorization": f"Bearer {token}"} if token else {}
        # Redirects are not followed: tokens and patients' text only go to the configured server.
        self._http = httpx2.Client(
            base_url=url,
            headers=headers,
            timeout=httpx2.Timeout(timeout_s + 10, connect=10),
            transport=transport,
        )
        self._timeout_s, self._connections = timeout_s, connections
        self._retrying = Retrying(
            retry=retry_if_exception(_is_transient),
            wait=_wait,
            stop=stop_after_attempt(attempts),
            reraise=True,
        )

    def extract(
        self,
        documents: Sequence[Document],
        model: str | None = None,
        *,
        guideline: Guideline | str | None = None,
        labels: Sequence[str] | None = None,
        threshold: float = 0.0,
        explain: bool = False,
    ) -> list[ClientAnswer]:
        """Extract entities from documents; the results are in their order.

        ``guideline``: an inline guideline, or the name of one on the server. Many documents are
        split into several requests, a few of them concurrent. Raises ServerRefused or
        ServerUnreachable.
        """
        options = self._options(model, guideline, labels, threshold, explain)
        return self._in_parts(documents, lambda part: self._part(part, options))

    def extract_files(
        self,
        files: Sequence[bytes],
        model: str | None = None,
        *,
        guideline: Guideline | str | None = None,
        labels: Sequence[str] | None = None,
        threshold: float = 0.0,
        explain: bool = False,
    ) -> list[ClientAnswer]:
        """Extract entities from the contents of files, which the server reads: texts, also
        compressed or as markup, images, PDFs, DICOM files. Ids are their indices; everything else
        is as in ``extract``."""
        options = self._options(model, guideline, labels, threshold, explain)
        documents = [Document(str(index), image=content) for index, content in enumerate(files)]
        return self._in_parts(documents, lambda part: self._uploaded(part, options))

    def _options(
        self,
        model: str | None,
        guideline: Guideline | str | None,
        labels: Sequence[str] | None,
        threshold: float,
        explain: bool,
    ) -> dict[str, Any]:
        options: dict[str, Any] = {"explain": explain, "threshold": threshold}
        options |= {"deadline_s": self._timeout_s}
        options |= {} if model is None else {"model": model}
        if isinstance(guideline, Guideline):
            options["guideline"] = guideline.model_dump(mode="json")
        elif guideline is not None:
            options["guideline"] = guideline
        return options | ({} if labels is None else {"labels": list(labels)})

    def deidentify(
        self,
        documents: Sequence[Document],
        patients: Mapping[str, str] | None = None,
        names: Mapping[str, Sequence[str]] | None = None,
        *,
        pages: bool | None = None,
    ) -> list[DeidentifiedAnswer]:
        """De-identify documents by the server's pipeline; the results are in their order.

        Both by document id: ``patients``, the patient's id, since documents of a patient share
        surrogates and date shift; ``names``, known names to replace. ``pages``: also return images
        with identifiers covered; None: as the pipeline does. Raises ServerRefused or
        ServerUnreachable.
        """
        options = {"deadline_s": self._timeout_s, "pages": pages}

        def sent(document: Document) -> dict[str, Any]:
            found = _sent(document)
            if patients and document.id in patients:
                found["patient"] = patients[document.id]
            if names and document.id in names:
                found["names"] = list(names[document.id])
            return found

        def ask(part: Sequence[Document]) -> list[DeidentifiedAnswer]:
            content = {"documents": list(map(sent, part))} | options
            return [
                _deidentified(answer)
                for answer in self._request("POST", "/v1/deidentify", content)["documents"]
            ]

        return self._in_parts(documents, ask)

    def deidentify_files(
        self,
        files: Sequence[bytes],
        patient: str | None = None,
        names: Sequence[str] = (),
        *,
        pages: bool | None = None,
    ) -> list[DeidentifiedAnswer]:
        """De-identify the contents of files of one patient, which the server reads as those of
        ``extract_files``. Ids are their indices; everything else is as in ``deidentify``."""
        options = {"patient": patient, "names": list(names), "pages": pages}
        fields = {"options": json.dumps(options | {"deadline_s": self._timeout_s})}

        def ask(part: Sequence[Document]) -> list[DeidentifiedAnswer]:
            form = _form(part)
            body = self._request("POST", "/v1/deidentify/upload", files=form, data=fields)
            return [
                replace(_deidentified(answer), document_id=document.id)
                for document, answer in zip(part, body["documents"], strict=True)
            ]

        documents = [Document(str(index), image=content) for index, content in enumerate(files)]
        return self._in_parts(documents, ask)

    def _in_parts(
        self, documents: Sequence[Document], ask: Callable[[Sequence[Document]], list[_Answer]]
    ) -> list[_Answer]:
        with ThreadPoolExecutor(self._connections) as pool:
            parts = pool.map(ask, list(_parts(documents)))
            return [answered for part in parts for answered in part]

    def models(self) -> list[dict[str, Any]]:
        """The models that /v1/models lists."""
        models: list[dict[str, Any]] = self._request("GET", "/v1/models")["models"]
        return models

    def vocabularies(self) -> list[dict[str, Any]]:
        """Return the vocabularies of the server (/v1/vocabularies)."""
        vocabularies: list[dict[str, Any]] = self._request("GET", "/v1/vocabularies")[
            "vocabularies"
        ]
        return vocabularies

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def _part(self, documents: Sequence[Document], options: dict[str, Any]) -> list[ClientAnswer]:
        sent = {"documents": list(map(_sent, documents))}
        body = self._request("POST", "/v1/extract", sent | options)
        return [
            _answered(document, answer)
            for document, answer in zip(documents, body["documents"], strict=True)
        ]

    def _uploaded(
        self, documents: Sequence[Document], options: dict[str, Any]
    ) -> list[ClientAnswer]:
        form = _form(documents)
        fields = {"options": json.dumps(options)}
        body = self._request("POST", "/v1/extract/upload", files=form, data=fields)
        return [
            _answered(_as_uploaded(document, answer), answer)
            for document, answer in zip(documents, body["documents"], strict=True)
        ]

    def _request(
        self, method: str, path: str, content: dict[str, Any] | None = None, **form: Any
    ) -> dict[str, Any]:
        try:
            answer: dict[str, Any] = self._retrying(self._attempt, method, path, content, form)
            return answer
        except httpx2.TransportError as error:
            raise ServerUnreachable(f"{self._http.base_url}: {type(error).__name__}") from None

    def _attempt(
        self, method: str, path: str, content: dict[str, Any] | None, form: dict[str, Any]
    ) -> dict[str, Any]:
        answer = self._http.request(method, path, json=content, **form)
        if answer.is_success:
            body: dict[str, Any] = answer.json()
            return body
        code, message = "unknown", "the server sent an unexpected response"
        try:
            error = answer.json()["error"]
            code, message = str(error["code"]), str(error["message"])
        except (ValueError, KeyError, TypeError):
            pass  # a proxy's error page; its content does not help
        after = answer.headers.get("retry-after", "")
        raise ServerRefused(
            answer.status_code, code, message, float(after) if after.isdecimal() else 0.0
        )


def _is_transient(error: BaseException) -> bool:
    if isinstance(error, ServerRefused):
        # An error without the envelope comes from something in front of the server, such as a
        # proxy that has lost its backend.
        return error.status in _RETRIED or (error.status >= 500 and error.code == "unknown")
    return isinstance(error, httpx2.TransportError)


def _wait(state: RetryCallState) -> float:
    error = state.outcome.exception() if state.outcome is not None else None
    requested = error.retry_after if isinstance(error, ServerRefused) else 0.0
    return max(requested, _BACKOFF(state))


def _parts(documents: Sequence[Document]) -> Iterator[list[Document]]:
    part: list[Document] = []
    characters = 0
    for document in documents:
        length = len(document.text or "") + len(document.image or b"") * 4 // 3
        length += _SECTION_CHARACTERS * len(document.sections)
        if part and (len(part) == _PER_REQUEST or characters + length > _REQUEST_CHARACTERS):
            yield part
            part, characters = [], 0
        part.append(document)
        characters += length
    if part:
        yield part


def _sent(document: Document) -> dict[str, Any]:
    sent: dict[str, Any] = {"id": document.id} | _content(document)
    if document.prompt is not None:
        sent["prompt"] = document.prompt
    if document.text is not None and document.sections:
        sent["sections"] = [
            {
                "start": one.start,
                "end": one.end,
                "heading_end": one.heading_end,
                "loinc": one.loinc,
            }
            for one in document.sections
        ]
    return sent


def _form(documents: Sequence[Document]) -> list[tuple[str, tuple[str, bytes]]]:
    # No file names: they may be a patient's.
    return [("file", ("file", document.image or b"")) for document in documents]


def _content(document: Document) -> dict[str, str]:
    if document.text is None and document.image is not None:
        return {"image": base64.b64encode(document.image).decode()}
    return {"text": document.text or ""}


def _as_uploaded(document: Document, answer: dict[str, Any]) -> Document:
    """With its text where the server does not repeat it: the file's content, as it is."""
    if answer["text"] is not None or answer["error"]:
        return replace(document, image=None)
    return replace(document, text=(document.image or b"").decode(), image=None)


def _answered(document: Document, answer: dict[str, Any]) -> ClientAnswer:
    return ClientAnswer(
        document_id=document.id,
        text=document.text if answer.get("text") is None else answer["text"],
        failure=Failure(**answer["error"]) if answer.get("error") else None,
        entities=tuple(_entity(entity) for entity in answer["entities"]),
        steps=tuple(_step(document, step) for step in answer["steps"]),
        sections=tuple(Section(**section) for section in answer["sections"]),
        relations=tuple(Relation(**relation) for relation in answer["relations"]),
        abbreviations=answer["abbreviations"],
        problems=tuple(answer["problems"]),
        tables=tuple(_table(table) for table in answer["tables"]),
        fields=tuple(FormField(**one) for one in answer["fields"]),
        marks=tuple(PageMark(MarkKind(one["kind"]), Box(**one["box"])) for one in answer["marks"]),
    )


def _table(table: dict[str, Any]) -> PageTable:
    return PageTable(**table | {"cells": tuple(Cell(**cell) for cell in table["cells"])})


def _deidentified(answer: dict[str, Any]) -> DeidentifiedAnswer:
    file = answer["file"]
    return DeidentifiedAnswer(
        document_id=answer["id"],
        status=answer["status"],
        failure=Failure(**answer["error"]) if answer["error"] else None,
        text=answer["text"],
        counts={(one["category"], one["policy"]): one["count"] for one in answer["counts"]},
        file=None if file is None else base64.b64decode(file["content"]),
        file_kind=None if file is None else file["kind"],
        replacements=tuple(Replacement(**edit) for edit in answer["edits"]),
        entities=tuple(_entity(entity) for entity in answer["entities"]),
        sections=tuple(Section(**section) for section in answer["sections"]),
        relations=tuple(Relation(**relation) for relation in answer["relations"]),
    )


def _entity(entity: dict[str, Any]) -> Entity:
    assertion = entity["assertion"]
    return Entity(
        **entity
        | {
            "grounding": Grounding(entity["grounding"]),
            "boxes": tuple(Box(**box) for box in entity["boxes"]),
            "assertion": None if assertion is None else _assertion(assertion),
            "codes": tuple(
                Code(**code | {"parents": tuple(code["parents"])}) for code in entity["codes"]
            ),
        }
    )


def _assertion(values: dict[str, Any]) -> Assertion:
    return Assertion(
        **values
        | {
            "experiencer": Experiencer(values["experiencer"]),
            "cues": tuple(Cue(**cue) for cue in values["cues"]),
        }
    )


def _step(document: Document, step: dict[str, Any]) -> Extraction:
    return Extraction(
        document_id=document.id,
        model=step["model"],
        fingerprint=step["fingerprint"],
        status=Status(step["status"]),
        failure=Failure(**step["error"]) if step["error"] else None,
        completion=step["completion"],
        reasoning=step["reasoning"],
        structured=step["structured"],
        problems=tuple(step["problems"]),
        usage=Usage(
            step["prompt_tokens"],
            step["completion_tokens"],
            step["seconds"],
            step["unknown_tokens"],
        ),
    )
