"""Recognise lines with the program Tesseract, for languages that the ONNX recogniser cannot write.

Detection stays as it is: the program gets the lines, many in a call, since each call loads the
language anew. It gives a box and a confidence per word; characters are spaced evenly within it.
"""

from __future__ import annotations

import hashlib
import io
import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from actors.config import ConfigError
from actors.config.languages import LANGUAGES
from actors.config.ocr import OcrModel
from actors.ocr.recognized import RecognizedLine
from actors.pages import Picture

BATCH_PIXELS = 65_536
"""Total width of the lines of a call: about a page of them."""
_MARGIN = 6  # pixels around a line: the program expects letters not to touch the edge
_SECONDS, _SECONDS_PER_LINE = 60.0, 10.0  # on a loaded machine
_COLUMNS, _WORD = 12, "5"  # of the program's table, and its level of words
_LISTED = re.compile(r'"(.+)"')  # the folder, in the first line of --list-langs


class Tesseract:
    """The program, with the language of an OCR model. ``read`` is thread-safe."""

    def __init__(self, config: OcrModel, threads: int) -> None:
        """Raises ConfigError with the packages to install."""
        self._language, _ = _data(config)
        self._environment = os.environ | {"OMP_THREAD_LIMIT": str(threads)}

    def read(self, crops: Sequence[Picture]) -> list[RecognizedLine]:
        """Recognise crops of lines. Raises CalledProcessError or TimeoutExpired."""
        answer = subprocess.run(
            ["tesseract", "stdin", "stdout", "-l", self._language, "--psm", "7", "tsv"],
            input=_pages(crops),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,  # it may quote what it reads
            env=self._environment,
            timeout=_SECONDS + _SECONDS_PER_LINE * len(crops),
            check=True,
        )
        words: list[list[tuple[str, float, float, float]]] = [[] for _ in crops]
        for row in answer.stdout.decode().splitlines():
            fields = row.split("\t")
            if len(fields) == _COLUMNS and fields[0] == _WORD:
                left, width = float(fields[6]) - _MARGIN, float(fields[8])
                word = (fields[11], left, left + width, float(fields[10]) / 100)
                words[int(fields[1]) - 1].append(word)
        return [_line(found, crop.shape[1]) for found, crop in zip(words, crops, strict=True)]


def tesseract_digest(config: OcrModel) -> str:
    """Return the SHA-256 over the program's version and the data of the language."""
    _, data = _data(config)
    version = _output("--version").splitlines()[0]
    return hashlib.sha256(version.encode() + data.read_bytes()).hexdigest()


def _data(config: OcrModel) -> tuple[str, Path]:
    """Return the program's name of the model's language, and its data file."""
    assert config.language is not None  # checked with the configuration
    language = LANGUAGES[config.language]
    package = "tesseract-ocr-" + language.tesseract.replace("_", "-")
    if shutil.which("tesseract") is None:
        raise ConfigError(
            f"{config.name}: the program tesseract is not on the PATH; on Debian and Ubuntu: "
            f"apt-get install tesseract-ocr {package}"
        )
    listing = _output("--list-langs").splitlines()
    folder = _LISTED.search(listing[0] if listing else "")
    if folder is None or language.tesseract not in listing[1:]:
        raise ConfigError(
            f"{config.name}: tesseract has no data for {language.name} ({language.tesseract}); on "
            f"Debian and Ubuntu: apt-get install {package}"
        )
    return language.tesseract, Path(folder[1]) / f"{language.tesseract}.traineddata"


def _output(option: str) -> str:
    answer = subprocess.run(
        ["tesseract", option], capture_output=True, text=True, timeout=_SECONDS, check=True
    )
    return answer.stdout or answer.stderr  # version 4 writes to the latter


def _pages(crops: Sequence[Picture]) -> bytes:
    """Return the lines as a TIFF, one a page."""
    sheets = []
    for crop in crops:
        gray = cv2.cvtColor(crop, cv2.COLOR_BGR2GRAY)
        edges = (_MARGIN, _MARGIN, _MARGIN, _MARGIN)
        sheets.append(Image.fromarray(cv2.copyMakeBorder(gray, *edges, cv2.BORDER_REPLICATE)))
    out = io.BytesIO()
    sheets[0].save(out, "TIFF", save_all=True, append_images=sheets[1:])
    return out.getvalue()


def _line(words: Sequence[tuple[str, float, float, float]], width: int) -> RecognizedLine:
    """Join the words (text, left, right, confidence) of a line ``width`` pixels wide."""
    text, places, odds = "", [np.zeros(0)], [np.zeros(0)]
    end = 0.0
    for word, left, right, confidence in words:
        if text:
            text += " "
            places.append(np.array([(end + left) / 2]))
            odds.append(np.array([confidence]))
        text += word
        places.append(left + (np.arange(len(word)) + 0.5) / max(len(word), 1) * (right - left))
        odds.append(np.full(len(word), confidence))
        end = right
    along = np.clip(np.concatenate(places) / max(width, 1), 0, 1)
    return RecognizedLine(text, along.astype(np.float32), np.concatenate(odds).astype(np.float32))
