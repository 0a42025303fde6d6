"""The peers as their users call them: rapidocr with its defaults, and Debian's Tesseract."""

from __future__ import annotations

import os
import subprocess

from rapidocr import RapidOCR

from benchmarks.pages.made import MadePage

_LANGUAGES = {"en": "eng", "vi": "vie"}


class Rapid:
    """rapidocr with its defaults."""

    def __init__(self, threads: int) -> None:
        self._engine = RapidOCR(
            params={
                "Global.log_level": "error",
                "EngineConfig.onnxruntime.intra_op_num_threads": threads,
            }
        )

    def read(self, page: MadePage) -> str:
        """Return the text of a page."""
        return " ".join(self._engine(page.content).txts or ())


class Program:
    """Tesseract on whole pages, with detection of their orientation."""

    def __init__(self, threads: int) -> None:
        self._environment = os.environ | {"OMP_THREAD_LIMIT": str(threads)}

    def read(self, page: MadePage) -> str:
        """Return the text of a page."""
        answer = subprocess.run(
            ["tesseract", "-", "-", "-l", _LANGUAGES[page.language], "--psm", "1"],
            input=page.content,
            capture_output=True,
            env=self._environment,
        )
        return answer.stdout.decode()
