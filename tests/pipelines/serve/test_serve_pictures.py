"""Documents that are pictures: read first, then treated as text, with places on the page."""

from __future__ import annotations

import base64
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from starlette.testclient import TestClient
from support import serve
from support.serve import MODEL, FakeExtractor, FakeReader, events, make_app, make_client, picture

from actors.config import GgufModel
from pipelines.config import load_pipeline
from pipelines.offset_units import OffsetUnit
from pipelines.pool import Pool
from pipelines.serve.answering.models import LocalModels, ModelFacts
from pipelines.serve.catalogue import catalogue_of
from pipelines.serve.http.app import create_app
from pipelines.stages import Stage

PICTURE = b"takes metformin daily"


@pytest.fixture
def client(tmp_path: Path) -> TestClient:
    return TestClient(make_app(tmp_path, ocr=True), base_url="http://127.0.0.1")


def _image(content: bytes) -> dict[str, str]:
    return {"image": base64.b64encode(content).decode()}


def _ask(client: TestClient, *documents: dict[str, Any], **more: Any) -> list[dict[str, Any]]:
    answer = client.post("/v1/extract", json={"documents": list(documents)} | more)
    assert answer.status_code == 200, answer.text
    told: list[dict[str, Any]] = answer.json()["documents"]
    return told


def test_an_entity_of_a_picture_has_its_place_in_the_text_and_on_the_page(
    client: TestClient,
) -> None:
    [told] = _ask(client, _image(PICTURE))
    assert told["text"] == PICTURE.decode()
    assert told["pages"] == [{"width": 640, "height": 480, "turn": 0, "picture": None}]
    [entity] = told["entities"]
    assert told["text"][entity["start"] : entity["end"]] == entity["text"] == "metformin"
    assert entity["boxes"] == [{"page": 0, "x0": 60, "y0": 0, "x1": 150, "y1": 12}]
    assert entity["ocr_confidence"] == 0.75


FORM = "💊 daily\nName: Wren\nTest\tResult\tUnit\nmetformin\t3\tmg/L\ninsulin\t4\tmg/L\n~signed~"


@pytest.mark.parametrize("unit", ["code_points", "utf16", "bytes"])
def test_tables_fields_and_marks_of_a_page(client: TestClient, unit: OffsetUnit) -> None:
    codec, width = {"code_points": ("utf-32-le", 4), "utf16": ("utf-16-le", 2)}.get(
        unit, ("utf-8", 1)
    )
    [told] = _ask(client, _image(FORM.encode()), offsets=unit)

    def words(start: int, end: int) -> str:
        return FORM.encode(codec)[start * width : end * width].decode(codec)

    [table] = told["tables"]
    shape = {key: table[key] for key in ("page", "rows", "columns", "header")}
    assert shape == {"page": 0, "rows": 3, "columns": 3, "header": True}
    cells = {(c["row"], c["column"]): words(c["start"], c["end"]) for c in table["cells"]}
    assert [cells[1, column] for column in range(3)] == ["metformin", "3", "mg/L"]
    [field] = told["fields"]
    assert (field["name"], words(field["start"], field["end"])) == ("Name", "Wren")
    assert words(field["label_start"], field["label_end"]) == "Name"
    box = {"page": 0, "x0": 0, "y0": 60, "x1": 80, "y1": 72}
    assert told["marks"] == [{"kind": "signature", "box": box}]


def test_pictures_and_texts_in_one_request_and_a_bad_picture_fails_alone(
    client: TestClient,
) -> None:
    told = _ask(client, {"text": "insulin"}, _image(b"\xff\xfe"), _image(PICTURE), model=MODEL)
    assert [one["status"] for one in told] == ["ok", "failed", "ok"]
    assert told[0]["text"] is None
    assert told[1]["error"] == {
        "type": "UnknownFormat",
        "message": "neither a picture nor a PDF",
    }
    assert (told[1]["entities"], told[1]["steps"]) == ([], [])
    assert [len(one["entities"]) for one in told] == [1, 0, 1]


def test_only_bad_pictures(client: TestClient) -> None:
    assert [one["status"] for one in _ask(client, _image(b"\xff"))] == ["failed"]


def test_text_on_a_picture_is_bounded_like_text(tmp_path: Path) -> None:
    app = make_app(tmp_path, "{limits: {characters: 10}}", ocr=True)
    [told] = _ask(TestClient(app, base_url="http://127.0.0.1"), _image(PICTURE))
    assert (told["status"], told["error"]["type"]) == ("failed", "DocumentTooLarge")


@pytest.mark.parametrize("image", ["not base64!", "/etc/passwd\0", "file:///etc/passwd", 7, ""])
def test_invalid_base64_is_rejected(client: TestClient, image: Any) -> None:
    answer = client.post("/v1/extract", json={"documents": [{"image": image}]})
    if image == "":
        assert answer.status_code == 200, "an empty file is a file"
        return
    assert (answer.status_code, answer.json()["error"]["code"]) == (422, "invalid_request")


def test_text_and_image_together_are_refused(client: TestClient) -> None:
    both = {"text": "x"} | _image(PICTURE)
    answer = client.post("/v1/extract", json={"documents": [both]})
    assert answer.status_code == 422


def test_pictures_without_an_ocr_stage_are_an_error(tmp_path: Path) -> None:
    client = make_client(tmp_path)
    assert client.get("/v1/models").json()["pictures"] is False
    answer = client.post("/v1/extract", json={"documents": [_image(PICTURE)]})
    assert (answer.status_code, answer.json()["error"]["code"]) == (422, "pictures_not_read")


@pytest.mark.parametrize("blank", [False, True])
def test_a_server_that_reads_pictures_is_ready_once_one_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, blank: bool
) -> None:
    if blank:
        monkeypatch.setattr(serve, "_note", lambda content: " ")
    client = TestClient(make_app(tmp_path, ocr=True), base_url="http://127.0.0.1")
    assert client.get("/readyz").status_code == (503 if blank else 200)


def test_models_shows_which_models_read_pictures(client: TestClient) -> None:
    assert client.get("/v1/models").json()["pictures"] is True


def test_pages_come_along_where_they_are_asked_for(client: TestClient) -> None:
    content = picture("takes metformin daily")
    [told] = _ask(client, _image(content), page_pictures=True)
    [page] = told["pages"]
    with Image.open(BytesIO(base64.b64decode(page["picture"]))) as shown:
        assert (shown.format, shown.size) == ("WEBP", (640, 480))
        assert max(shown.convert("L").getpixel((65, 6)), 200) == 200, "the grey letter"  # type: ignore[type-var]
    assert told["entities"][0]["boxes"] == [{"page": 0, "x0": 60, "y0": 0, "x1": 150, "y1": 12}]
    assert _ask(client, _image(content))[0]["pages"][0]["picture"] is None


def test_a_stream_reports_the_pages_read(client: TestClient) -> None:
    asked = {"documents": [{"text": "none"}, {"id": "scan", **_image(picture("takes metformin"))}]}
    came = events(client.post("/v1/extract/stream", json=asked).text)
    assert came[1] == ("pages", {"document": "scan", "pages": 1})
    assert [name for name, _ in came].count("pages") == 1


@pytest.mark.parametrize("ocr", [True, False])
def test_a_model_that_sees_is_shown_the_picture_itself(tmp_path: Path, ocr: bool) -> None:
    make_app(tmp_path, ocr=ocr)
    catalogue = catalogue_of(load_pipeline(tmp_path / "pipe.yaml"))
    sees = GgufModel.model_validate(
        {
            "name": MODEL,
            "kind": "gguf",
            "weights": {"model": "m.gguf", "mmproj": "p.gguf"},
            "prompt": {"format": "prose"},
        }
    )
    fake = FakeExtractor()
    facts = ModelFacts(MODEL, "gguf", fake.fingerprint, (), prompts=True, guideline="none")
    models = LocalModels({MODEL: fake}, {MODEL: facts}, FakeReader())
    app = create_app(replace(catalogue, models={MODEL: Stage(MODEL, sees, Pool())}), models)
    client = TestClient(app, base_url="http://127.0.0.1")
    content = picture("takes metformin daily")
    [told] = _ask(client, _image(content))
    assert told["status"] == "ok"
    assert fake.asked[-1].image == content
    assert fake.asked[-1].text == ("takes metformin daily" if ocr else None)
    assert client.get("/v1/models").json()["pictures"] is True
