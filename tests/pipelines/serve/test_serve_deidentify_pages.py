"""/v1/deidentify for images, PDFs and DICOM: the covered file, and the second look at it."""

from __future__ import annotations

import json
import logging
from base64 import b64decode, b64encode
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import pytest
from starlette.testclient import TestClient
from support.bar_codes import coded_file, codes_of
from support.deidentify import SECRET, counterparts
from support.images import dicom
from support.lake import Quiet, hashing, pipeline
from support.named_page import assert_name_is_black, named_page
from support.painted_pages import PaintedReader, painted, painted_file
from support.serve import MODEL, PIPELINE, FakeExtractor, make_app
from support.without_ray import _without_ray  # noqa: F401

import actors.ocr
from actors.pages import OcrResult, PixelBudget, open_pages, page_format
from actors.spans import Box, Document, Failure, MarkKind, PageMark, spanning
from pipelines.client import Client
from pipelines.config import load_pipeline
from pipelines.deidentification import KEY
from pipelines.enrich import enrich_once
from pipelines.runs.store import RunStore
from pipelines.serve.answering.models import LocalModels, ModelFacts
from pipelines.serve.catalogue import catalogue_of
from pipelines.serve.http.app import create_app

SCAN = "Patient: Jonathan Doe, MRN 998877. Takes aspirin, metformin"
SECOND = "Mr. Doe, born 1961-03-02, is well"
SIGNED = "Jn Dxe takes aspirin"
SIGNATURE = PageMark(MarkKind.SIGNATURE, Box(0, 25, 5, 130, 35))
LOST = {"Jonathan", "Doe,", "998877.", "1961-03-02,"}
PATH, UPLOAD = "/v1/deidentify", "/v1/deidentify/upload"


class _Reader(PaintedReader):
    """Takes the pixels of every file from the request's budget, as the server asks."""

    asked = 0

    def submit(
        self,
        document: Document,
        budget: PixelBudget | None = None,
        on_page: Callable[[int], None] = lambda pages: None,
    ) -> Future[OcrResult | Failure]:
        type(self).asked += 1
        future = super().submit(document)
        read = future.result()
        if isinstance(read, OcrResult) and budget is not None:
            for number, page in enumerate(read.pages, 1):
                budget.take(page)  # type: ignore[arg-type]
                on_page(number)
        return future


@pytest.fixture
def reader() -> type[_Reader]:
    texts, marks = {1: SCAN, 2: SECOND, 3: SIGNED}, {3: [SIGNATURE]}
    return type("Reader", (_Reader,), {"texts": texts, "marks": marks})


@pytest.fixture(autouse=True)
def _key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEY, SECRET.decode())


class Server:
    """A server over a painted reader. ``section``: of de-identification."""

    def __init__(self, folder: Path, reader: type[_Reader], **section: Any) -> None:
        chosen = {"preset": "strict", **section}
        path = folder / "pipe.yaml"
        more = f"deidentify: {json.dumps(chosen)}\nocr: {{model: 'starter:ocr'}}"
        path.write_text(PIPELINE.format(serve="{}", more=more))
        self.fake = FakeExtractor()
        facts = ModelFacts(MODEL, "onnx", self.fake.fingerprint, ("Drug",), False, "labels")
        models = LocalModels({MODEL: self.fake}, {MODEL: facts}, reader())
        app = create_app(catalogue_of(load_pipeline(path)), models)
        self.client = TestClient(
            app, base_url="http://127.0.0.1:8000", raise_server_exceptions=False
        )

    def ask(self, *files: bytes, **more: Any) -> list[dict[str, Any]]:
        documents = [{"image": b64encode(file).decode()} for file in files]
        answer = self.client.post(PATH, json={"documents": documents, "pages": True} | more)
        assert answer.status_code == 200, answer.text
        found: list[dict[str, Any]] = answer.json()["documents"]
        return found

    def one(self, file: bytes, **more: Any) -> dict[str, Any]:
        (found,) = self.ask(file, **more)
        return found


@pytest.fixture
def server(tmp_path: Path, reader: type[_Reader]) -> Server:
    return Server(tmp_path, reader)


def content_of(document: dict[str, Any]) -> bytes:
    return b64decode(document["file"]["content"])


def words_of(reader: type[_Reader], content: bytes) -> set[str]:
    seen = reader().submit(Document("", image=content)).result()
    assert isinstance(seen, OcrResult)
    return {*seen.text.split()}


@pytest.mark.parametrize(
    ("form", "kind", "media_type"),
    [
        ("PNG", "png", "image/png"),
        ("TIFF", "tiff", "image/tiff"),
        ("GIF", "tiff", "image/tiff"),
        ("PDF", "pdf", "application/pdf"),
    ],
)
def test_a_file_comes_back_with_its_identifiers_covered(
    server: Server, reader: type[_Reader], form: str, kind: str, media_type: str
) -> None:
    pages = [(1, SCAN)] if form == "PNG" else [(1, SCAN), (2, SECOND)]
    document = server.one(painted_file(pages, form))
    assert (document["status"], document["residue"]) == ("ok", [])
    assert (document["file"]["kind"], document["file"]["media_type"]) == (kind, media_type)
    content = content_of(document)
    assert page_format(content) == kind
    assert len([*open_pages(content)]) == len(pages)
    words = words_of(reader, content)
    assert not LOST & words
    assert "metformin" in words
    counts = {one["category"]: one["count"] for one in document["counts"]}
    assert counts == {"NAME": len(pages), "MRN": 1} | ({"DATE": 1} if len(pages) > 1 else {})


def test_dicom_comes_back_as_dicom(server: Server) -> None:
    values = np.asarray(painted(1, SCAN).convert("L")).astype(np.uint16)
    ids = {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.7", "SOPInstanceUID": "1.2.3"}
    content = dicom(values, PatientName="Doe^Jonathan", PatientID="998877", **ids)
    document = server.one(content)
    file = document["file"]
    assert (file["kind"], file["media_type"]) == ("dcm", "application/dicom")
    assert page_format(content_of(document)) == "dicom"
    assert b"Doe^Jonathan" not in content_of(document)


def test_pages_come_where_the_pipeline_or_the_request_wants_them(
    tmp_path: Path, reader: type[_Reader]
) -> None:
    scan = painted_file([(1, SCAN)])
    plain, always = Server(tmp_path, reader), Server(tmp_path, reader, pages=True)
    assert plain.one(scan, pages=None)["file"] is None
    assert plain.one(scan)["file"] is not None
    assert always.one(scan, pages=None)["file"] is not None
    before = reader.asked
    assert always.one(scan, pages=False)["file"] is None
    assert reader.asked == before + 1, "no second look without pages"


def test_texts_have_no_file(server: Server) -> None:
    sent = {"documents": [{"text": SCAN}], "pages": True}
    (document,) = server.client.post(PATH, json=sent).json()["documents"]
    assert (document["status"], document["file"]) == ("ok", None)


@pytest.mark.parametrize("look", ["models", "rules"])
def test_what_ocr_reads_on_a_covered_page_holds_text_and_file_back(
    tmp_path: Path, reader: type[_Reader], look: str
) -> None:
    reader.also = "jane@example.org"
    document = Server(tmp_path, reader, second_look=look).one(painted_file([(1, SCAN)]))
    assert (document["status"], document["text"], document["file"]) == ("residue", None, None)
    place = {"start": None, "end": None}
    assert document["residue"] == [place | {"category": "EMAIL", "by": "email"}]
    assert reader.also not in json.dumps(document)
    allowed = Server(tmp_path, reader, second_look=look, residue="allow")
    document = allowed.one(painted_file([(1, SCAN)]))
    assert document["status"] == "residue"
    assert document["file"] is not None


def test_models_read_the_covered_page_too(tmp_path: Path, reader: type[_Reader]) -> None:
    reader.also = "Smurf"

    class Knows(FakeExtractor):
        def read(self, document: Document) -> Any:
            found, text = super().read(document), document.text or ""
            if "Smurf" not in text:
                return found
            at = text.index("Smurf")
            name = spanning(text, at, at + 5, "PATIENT", model="m")
            return replace(found, entities=(*found.entities, name))

    for look, status in (("models", "residue"), ("rules", "ok")):
        server = Server(tmp_path, reader, second_look=look)
        server.fake.read = Knows().read  # type: ignore[method-assign]
        text, scan = server.ask(painted_file([(2, SECOND)]), painted_file([(1, SCAN)]))
        assert (text["status"], scan["status"]) == (status, status)


def test_nothing_leaves_where_pages_cannot_be_read_again_or_covered(
    tmp_path: Path, reader: type[_Reader], monkeypatch: pytest.MonkeyPatch
) -> None:
    server = Server(tmp_path, reader)
    scan = painted_file([(1, SCAN)])
    reader.failing = True
    document = server.one(scan)
    assert (document["status"], document["text"], document["file"]) == ("failed", None, None)
    assert document["error"] == {"type": "TooSlow", "message": "the second look took too long"}
    reader.failing = False

    def burnt(*_: object, **__: object) -> None:
        raise MemoryError(SCAN)

    monkeypatch.setattr("actors.deidentify.page_redaction.burnt", burnt)
    document = server.one(scan)
    assert (document["status"], document["text"], document["file"]) == ("failed", None, None)
    assert document["error"]["type"] == "MemoryError"
    assert "Doe" not in json.dumps(document)


def test_signatures_are_covered_and_their_words_are_masked(
    tmp_path: Path, reader: type[_Reader]
) -> None:
    scan = painted_file([(3, SIGNED)])
    document = Server(tmp_path, reader).one(scan)
    assert document["text"] == "[SIGNATURE] takes aspirin"
    assert document["counts"] == [{"category": "SIGNATURE", "policy": "mask", "count": 1}]
    (page,) = [one.picture for one in open_pages(content_of(document))]
    assert page is not None
    assert not page[6:34, 26:129].any()
    kept = Server(tmp_path, reader, policies={"SIGNATURE": "keep"}).one(scan)
    assert kept["text"] == SIGNED
    assert kept["counts"] == []


def test_bar_codes_are_covered_and_named_in_no_answer(
    tmp_path: Path, reader: type[_Reader], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    scan = coded_file(painted(2, SECOND), "4471120")
    document = Server(tmp_path, reader).one(scan)
    counts = {one["category"]: one["count"] for one in document["counts"]}
    assert (document["status"], counts["BARCODE"]) == ("ok", 1)
    assert codes_of(content_of(document)) == []
    assert "4471120" not in json.dumps(document) + caplog.text
    kept = Server(tmp_path, reader, policies={"BARCODE": "keep"}).one(scan)
    assert "BARCODE" not in {one["category"] for one in kept["counts"]}
    assert codes_of(content_of(kept)) == ["4471120"]
    only_text = Server(tmp_path, reader).one(scan, pages=False)
    assert "BARCODE" not in {one["category"] for one in only_text["counts"]}


def test_nothing_leaves_where_bar_codes_cannot_be_looked_for(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    def found(*_: object) -> None:
        raise MemoryError(SCAN)

    monkeypatch.setattr("actors.pages.bar_codes.find_bar_codes", found)
    document = server.one(painted_file([(1, SCAN)]))
    assert (document["status"], document["text"], document["file"]) == ("failed", None, None)
    assert document["error"]["type"] == "MemoryError"
    assert "Doe" not in json.dumps(document)


def test_a_server_without_ocr_says_so(tmp_path: Path) -> None:
    app = make_app(tmp_path, more="deidentify: {preset: strict}")
    client = TestClient(app, base_url="http://127.0.0.1:8000")
    answer = client.post(PATH, json={"text": "x", "pages": True})
    assert answer.json()["error"]["code"] == "pictures_not_read"
    assert client.post(PATH, json={"text": "x"}).status_code == 200


def test_limits_are_those_of_extraction(tmp_path: Path, reader: type[_Reader]) -> None:
    more = "ocr: {model: 'starter:ocr'}\ndeidentify: {preset: strict}"
    app = make_app(tmp_path, "{limits: {megapixels: 0.1, documents: 2}}", more=more)
    client = TestClient(app, base_url="http://127.0.0.1:8000")
    image = {"image": b64encode(b"Mr. Doe").decode()}
    answer = client.post(PATH, json={"documents": [image], "pages": True}).json()
    (document,) = answer["documents"]
    assert (document["status"], document["error"]["type"]) == ("failed", "TooManyPixels")
    answer = client.post(UPLOAD, files=[("file", b"x")] * 3).json()
    assert answer["error"]["code"] == "too_many_documents"
    answer = client.post(UPLOAD, files=[("file", b"x")], headers={"origin": "http://evil"}).json()
    assert answer["error"]["code"] == "origin_forbidden"


def test_uploaded_files_are_of_one_patient(tmp_path: Path, reader: type[_Reader]) -> None:
    server = Server(tmp_path, reader, policies={"NAME": "surrogate"})

    def texts(*files: bytes, **options: Any) -> list[str]:
        fields = {"options": json.dumps({"pages": True} | options)}
        form = [("file", ("file", file)) for file in files]
        answer = server.client.post(UPLOAD, files=form, data=fields)
        assert answer.status_code == 200, answer.text
        assert [bool(one["file"]) for one in answer.json()["documents"]] == [True, False]
        return [one["text"] for one in answer.json()["documents"]]

    scan = painted_file([(2, SECOND)])
    page, letter = texts(scan, b"Mr. Doe came. BAXTER, K. too", patient="7", names=["Kim Baxter"])
    name = page.split()[1].rstrip(",")
    assert name != "Doe"
    assert letter.startswith(f"Mr. {name} came.")
    assert "BAXTER" not in letter
    one, other = texts(scan, b"Mr. Doe came.")
    assert one.split()[1].rstrip(",") != other.split()[1]


def test_unknown_options_of_an_upload_are_an_error(server: Server) -> None:
    fields = {"options": json.dumps({"labels": []})}
    answer = server.client.post(UPLOAD, files=[("file", b"x")], data=fields)
    assert answer.json()["error"]["code"] == "invalid_request"


def test_the_audit_log_counts_the_files(server: Server, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "pipelines")
    server.ask(painted_file([(1, SCAN)]), painted_file([(2, SECOND)]))
    assert "documents=2 outcome: files=2 ok=2" in caplog.text
    for secret in LOST:
        assert secret not in caplog.text


def test_the_client_gets_the_files(server: Server) -> None:
    def answer(request: httpx2.Request) -> httpx2.Response:
        headers = {"content-type": request.headers["content-type"]}
        path = request.url.path
        found = server.client.post(path, content=request.read(), headers=headers)
        return httpx2.Response(found.status_code, content=found.content)

    scan = painted_file([(1, SCAN)])
    with Client("http://server", transport=httpx2.MockTransport(answer)) as client:
        (one,) = client.deidentify([Document("a", image=scan)], pages=True)
        (other, letter) = client.deidentify_files([scan, b"Mr. Doe"], "7", pages=True)
        (without,) = client.deidentify_files([scan])
    assert one.file is not None
    assert one.file == other.file
    assert (one.document_id, one.file_kind) == ("a", "png")
    assert one.counts == {("NAME", "mask"): 1, ("MRN", "mask"): 1}
    assert (letter.text, letter.file, letter.file_kind) == ("Mr. [NAME]", None, None)
    assert without.file is None
    assert without.text == one.text


@pytest.mark.usefixtures("_without_ray")
def test_batch_and_http_give_equal_files(
    tmp_path: Path, reader: type[_Reader], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(actors.ocr, "OcrReader", reader)
    (tmp_path / "in").mkdir()
    files = {"a.png": painted_file([(1, SCAN)]), "b.pdf": painted_file([(3, SIGNED)], "PDF")}
    for name, content in files.items():
        (tmp_path / "in" / name).write_bytes(content)
    section = {"preset": "strict", "pages": True}
    settings: dict[str, Any] = {"ids": False, "ocr": {"model": "starter:ocr"}}
    out = str(tmp_path / "out")
    loaded = pipeline(str(tmp_path / "in"), out, deidentify=section, **settings)
    enrich_once(loaded, Quiet(), nullcontext(), hashing())
    store = RunStore(out)
    rows = {Path(id_).name.split("#")[0]: row for id_, row in counterparts(store).items()}
    server = Server(tmp_path, reader, pages=True)
    for name, document in zip(files, server.ask(*files.values(), pages=None), strict=True):
        row = rows[name]
        assert (document["status"], document["text"]) == (row["status"], row["text"])
        assert document["counts"] == row["counts"]
        assert content_of(document) == store.folder.read(f"deidentified/{row['page_file']}")
    assert [one["category"] for one in rows["b.pdf"]["counts"]] == ["SIGNATURE"]


@pytest.mark.weights
def test_a_scan_is_covered_by_the_real_ocr(tmp_path: Path) -> None:
    from actors.config.ocr import load_ocr
    from actors.ocr import OcrReader

    page = named_page()
    scan = tmp_path / "scan.png"
    page.save(scan)
    with OcrReader(load_ocr("starter:ocr")) as real:
        server = Server(tmp_path, lambda: real)  # type: ignore[arg-type]
        document = server.one(scan.read_bytes())
    assert (document["status"], document["file"]["kind"]) == ("ok", "png")
    (tmp_path / "out.png").write_bytes(content_of(document))
    assert_name_is_black(tmp_path / "out.png", page)
