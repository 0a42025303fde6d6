"""Languages of pages: a recogniser that cannot write one is refused, or found out by its gaps."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont
from support.images import encoded

from actors.config import ConfigError
from actors.config.languages import LANGUAGES
from actors.config.ocr import OcrModel, load_ocr
from actors.ocr import OcrReader
from actors.ocr.missing_letters import doubted
from actors.ocr.recognized import LINE_HEIGHT, RecognizedLine
from actors.ocr.tesseract import Tesseract, tesseract_digest
from actors.pages import OcrResult
from actors.spans import Document

FONT = Path("/usr/share/fonts/truetype/dejavu/DejaVuSans.ttf")
VIETNAMESE = (
    "Bệnh nhân nữ nhập viện vì đau ngực trái và khó thở tăng dần.",
    "Khám phổi: ran ẩm ở hai đáy phổi, không ran rít, không ran ngáy.",
    "Đang dùng metformin 500 mg ngày hai lần và amlodipin 5 mg mỗi sáng.",
    "Chẩn đoán: suy tim độ III, rung nhĩ đáp ứng thất nhanh, viêm phổi phải.",
    "Hẹn tái khám sau hai tuần, mang theo kết quả xét nghiệm và đơn thuốc.",
)


def model(**values: Any) -> OcrModel:
    return OcrModel.model_validate({"name": "reader", "kind": "ocr"} | values)


def test_letters_are_single_and_of_every_language_s_own_script() -> None:
    for code, language in LANGUAGES.items():
        assert len(set(language.letters)) == len(language.letters), code
        assert not language.missing(language.letters + language.letters.upper()), code
    assert LANGUAGES["vi"].missing(LANGUAGES["fr"].letters)[:3] == ["ă", "đ", "ơ"]
    assert "ẞ" not in LANGUAGES["de"].missing("")


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"language": "xx"}, "unknown language 'xx'; known: bg, ca"),
        ({"recognizer": "tesseract"}, "recognizer: tesseract needs language"),
    ],
)
def test_wrong_languages_are_refused_when_the_file_is_loaded(
    tmp_path: Path, values: dict[str, str], said: str
) -> None:
    path = tmp_path / "ocr.yaml"
    path.write_text(json.dumps({"name": "reader", "kind": "ocr"} | values))
    with pytest.raises(ConfigError, match=said):
        load_ocr(path)


@pytest.mark.weights
@pytest.mark.parametrize(
    ("language", "lacks"), [("vi", "ả"), ("ru", "а"), ("el", "ά"), ("ko", "가")]
)
def test_a_recogniser_that_lacks_letters_is_refused_before_it_reads(
    language: str, lacks: str
) -> None:
    with pytest.raises(ConfigError, match="cannot write") as refused:
        OcrReader(model(language=language), threads=1)
    assert lacks in str(refused.value)
    assert "recognizer: tesseract" in str(refused.value)


@pytest.mark.weights
@pytest.mark.parametrize("language", ["en", "de", "pl", "tr", "zh", "ja"])
def test_a_recogniser_that_has_the_letters_is_taken(language: str) -> None:
    OcrReader(model(language=language), threads=1).close()


def line(text: str, lost: str = "") -> tuple[RecognizedLine, np.ndarray[Any, np.dtype[np.bool_]]]:
    """A line of letters of 20 pixels with ink all over, of which some were not written."""
    kept = [i for i, letter in enumerate(text) if letter not in lost]
    places = np.array([(i + 0.5) / len(text) for i in kept], np.float32)
    read = "".join(text[i] for i in kept)
    ink = np.repeat(np.array([letter != " " for letter in text]), 20)
    return RecognizedLine(read, places, np.full(len(read), 0.99, np.float32)), ink


def test_words_that_leave_room_for_letters_are_doubted_where_there_are_many() -> None:
    text = "phone hound dough pouch bonus spoke scope"
    whole, ink = line(text)
    assert doubted([whole], [ink])[1].with_room == 0
    lossy, ink = line(text, lost="o")
    (changed,), found = doubted([lossy], [ink])
    assert (found.words, found.with_room, found.many) == (7, 7, True)
    words = changed.probabilities[[letter != " " for letter in changed.text]]
    assert words == pytest.approx(0.099)


def test_a_word_or_two_with_room_are_no_sign_of_a_wrong_recogniser() -> None:
    whole, ink = line("phone hound dough pouch")
    lossy, gaps = line("spoke scope", lost="o")
    lines, found = doubted([whole, lossy], [ink, gaps])
    assert lines == [whole, lossy]
    assert not found.many


def test_wide_spacing_is_no_room_for_letters() -> None:
    spread, ink = line("phone hound dough pouch bonus")
    assert doubted([spread], [np.repeat(ink, 3)])[1].with_room == 0


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """In the place of tesseract: a script that answers what is in a file beside it."""
    data = tmp_path / "tessdata"
    data.mkdir()
    (data / "vie.traineddata").write_bytes(b"letters")
    script = tmp_path / "tesseract"
    script.write_text(
        "#!/bin/sh\n"
        'case "$1" in\n'
        f"--list-langs) echo 'List of available languages in \"{data}/\" (1):'; echo vie;;\n"
        "--version) echo tesseract 5;;\n"
        f"*) cat > {tmp_path}/asked.tif; cat {tmp_path}/answer;;\n"
        "esac\n"
    )
    script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    return tmp_path


def row(page: int, word: int, left: int, width: int, confidence: float, text: str) -> str:
    return f"5\t{page}\t1\t1\t1\t{word}\t{left}\t6\t{width}\t40\t{confidence}\t{text}"


def test_the_program_s_words_become_lines_with_places(program: Path) -> None:
    rows = ["level\tpage_num", row(1, 1, 6, 40, 96.0, "khó"), row(1, 2, 66, 40, 80.0, "thở")]
    (program / "answer").write_text("\n".join(rows), encoding="utf-8")
    crops = [np.full((LINE_HEIGHT, width, 3), 255, np.uint8) for width in (100, 50)]
    first, second = Tesseract(model(language="vi", recognizer="tesseract"), 1).read(crops)
    assert first.text == "khó thở"
    assert first.places == pytest.approx([0.0667, 0.2, 0.3333, 0.5, 0.6667, 0.8, 0.9333], abs=1e-3)
    assert first.probabilities == pytest.approx([0.96] * 3 + [0.8] * 4)
    assert (second.text, second.confidence) == ("", 0.0)
    with Image.open(program / "asked.tif") as asked:
        assert asked.n_frames == 2  # type: ignore[attr-defined]
        assert asked.size == (112, LINE_HEIGHT + 12)


def test_the_program_s_data_is_part_of_the_fingerprint(program: Path) -> None:
    config = model(language="vi", recognizer="tesseract")
    before = tesseract_digest(config)
    (program / "tessdata" / "vie.traineddata").write_bytes(b"other letters")
    assert tesseract_digest(config) != before


def test_a_program_or_language_that_is_not_installed_is_named(
    program: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ConfigError, match=r"no data for Polish.*tesseract-ocr-pol"):
        Tesseract(model(language="pl", recognizer="tesseract"), 1)
    monkeypatch.setenv("PATH", str(program / "nothing"))
    with pytest.raises(ConfigError, match=r"not on the PATH.*tesseract-ocr-chi-sim"):
        Tesseract(model(language="zh", recognizer="tesseract"), 1)


def vietnamese() -> bytes:
    page = Image.new("L", (1240, 360), 255)
    font = ImageFont.truetype(str(FONT), 26)
    for row_, text in enumerate(VIETNAMESE):
        ImageDraw.Draw(page).text((60, 30 + 60 * row_), text, fill=0, font=font)
    return encoded(page)


def read(config: OcrModel) -> OcrResult:
    with OcrReader(config, threads=1) as reader:
        (found,) = reader.read([Document(id="1", image=vietnamese())])
    assert isinstance(found, OcrResult)
    return found


def recall(text: str) -> float:
    words = " ".join(VIETNAMESE).split()
    return sum(word in text.split() for word in words) / len(words)


@pytest.mark.weights
@pytest.mark.skipif(not FONT.exists(), reason="no font with Vietnamese letters")
def test_missing_letters_of_a_page_are_reported_and_lower_its_confidence() -> None:
    found = read(model())
    assert recall(found.text) < 0.7
    assert any(problem.startswith("page 1: letters are missing") for problem in found.problems)
    assert max(word.confidence or 0 for word in found.words) < 0.9


@pytest.mark.weights
@pytest.mark.skipif(not FONT.exists(), reason="no font with Vietnamese letters")
@pytest.mark.skipif(shutil.which("tesseract") is None, reason="tesseract is not installed")
def test_vietnamese_is_read_by_tesseract() -> None:
    try:
        found = read(model(language="vi", recognizer="tesseract"))
    except ConfigError as error:
        pytest.skip(str(error))
    assert recall(found.text) > 0.97
    assert not found.problems
    word = next(w for w in found.words if found.text[w.start : w.end].startswith("phổi"))
    assert 60 < word.box.x0 < word.box.x1 < 300
    assert 85 < word.box.y0 < word.box.y1 < 135
