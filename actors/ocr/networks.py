"""The detection and recognition networks. The only file that imports rapidocr: its sessions and box
decoding are used unchanged."""

from __future__ import annotations

import copy
import hashlib
import logging
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import rapidocr
from numpy.typing import NDArray
from rapidocr import RapidOCR
from rapidocr.ch_ppocr_det import TextDetector
from rapidocr.ch_ppocr_rec import TextRecognizer

from actors.config import ConfigError
from actors.config.languages import LANGUAGES
from actors.config.ocr import OcrModel
from actors.memory import (
    CUDA_CONTEXT,
    check_ocr,
    gpu_memory,
    ocr_parts,
    onnx_cuda_problem,
    read_ocr,
)
from actors.ocr.recognized import LINE_HEIGHT, RecognizedLine
from actors.ocr.tesseract import Tesseract, tesseract_digest
from actors.pages import Picture
from actors.weights import OCR_FILES, fetch_weights

_LOG = logging.getLogger(__name__)
_STRIP = 4  # aspect ratio above which a page is searched in tiles
_GRID = 32  # both networks halve their input five times
_MIN_SIDE = 736  # smaller pages are upscaled to this shorter side for detection
_DOUBTFUL_SCORE = 0.3  # below the threshold, and above this: a line that a stamp crosses, or none
_SHOWN = 12  # of the letters that an alphabet lacks

Quad = NDArray[np.float32]
"""Corners of a line: top left, top right, bottom right, bottom left."""


class OcrNetworks:
    """The loaded networks. Both methods are thread-safe."""

    def __init__(
        self, config: OcrModel, threads: int, gpu: float | None, cpu_fallback: bool = False
    ) -> None:
        """``gpu``: the GPU share that both networks use together; 0 or None: the CPU.

        Raises ConfigError if the GPU cannot be used, unless ``cpu_fallback``, and if the recogniser
        cannot write the configured language.
        """
        if gpu and gpu_memory() is None:
            _fall_back(config.name, "no CUDA GPU is visible to this process", gpu, cpu_fallback)
            gpu = None
        params: dict[str, Any] = {
            "Global.log_level": "error",
            "EngineConfig.onnxruntime.intra_op_num_threads": threads,
            "EngineConfig.onnxruntime.inter_op_num_threads": 1,
            "EngineConfig.onnxruntime.use_cuda": bool(gpu),
            "Det.box_thresh": min(_DOUBTFUL_SCORE, config.detection.threshold),
        }
        if config.weights is not None:
            detector, recognizer = network_files(config)
            params["Det.model_path"], params["Rec.model_path"] = str(detector), str(recognizer)
        settings = RapidOCR(params=params).cfg
        for section, limit in zip((settings.Det, settings.Rec), _limits(config, gpu), strict=True):
            section.engine_cfg = copy.deepcopy(settings.EngineConfig.onnxruntime)
            section.engine_cfg.cuda_ep_cfg.update(limit)
            section.model_root_dir = settings.Global.model_root_dir
        settings.Rec.font_path = None
        self._program = Tesseract(config, threads) if config.recognizer == "tesseract" else None
        self._detector = TextDetector(settings.Det)
        self._recognizer = TextRecognizer(settings.Rec)
        self._alphabet = np.array(self._recognizer.postprocess_op.character, dtype=object)
        self._letters = frozenset(self._alphabet)
        if self._program is None:
            _check_language(config, self._letters)
        for network in (self._detector, self._recognizer):
            used = network.session.session.get_providers()
            if gpu and "CUDAExecutionProvider" not in used:
                _fall_back(config.name, onnx_cuda_problem(), gpu, cpu_fallback)
        self._limits = config.detection

    def lines(self, picture: Picture) -> tuple[list[Quad], list[Quad]]:
        """Detect the lines of a page, from top to bottom, and apart from them those whose score is
        below the threshold."""
        found: tuple[list[Quad], list[Quad]] = ([], [])
        for tile in _tiles(picture.shape[0], picture.shape[1], self._limits.max_side):
            part = self._lines(picture[tile.top : tile.bottom, tile.left : tile.right])
            for quads, those in zip(part, found, strict=True):
                for quad in quads:
                    quad = quad + np.array([tile.left, tile.top], np.float32)
                    # Tiles overlap: a line shown in two of them belongs to the one that owns its
                    # position.
                    if tile.low <= quad[:, tile.axis].mean() < tile.high:
                        those.append(quad)
        return found

    def _lines(self, picture: Picture) -> tuple[list[Quad], list[Quad]]:
        height, width = picture.shape[:2]
        longer, shorter = max(height, width), min(height, width)
        scale = min(self._limits.max_side / longer, max(1.0, _MIN_SIDE / shorter))
        size = [max(_GRID, round(side * scale / _GRID) * _GRID) for side in (width, height)]
        shrinking = scale < 1
        resized = cv2.resize(
            picture, size, interpolation=cv2.INTER_AREA if shrinking else cv2.INTER_LINEAR
        )
        heat = self._detector.session(_normal(np.asarray(resized, np.uint8))[None])
        boxes, scores = self._detector.postprocess_op(heat, (height, width))
        sure = np.asarray(scores) >= self._limits.threshold
        boxes = np.asarray(boxes, np.float32).reshape(-1, 4, 2)
        return self._sorted(boxes[sure]), self._sorted(boxes[~sure])

    def _sorted(self, boxes: NDArray[np.float32]) -> list[Quad]:
        return list(self._detector.sorted_boxes(boxes)) if len(boxes) else []

    def can_write(self, letter: str) -> bool:
        """Return False for a letter that the recogniser does not know, and so leaves out."""
        return self._program is not None or letter in self._letters

    def read(self, crops: list[Picture]) -> list[RecognizedLine]:
        """Recognise crops of height LINE_HEIGHT and similar width."""
        if self._program is not None:
            return self._program.read(crops)
        widest = max(crop.shape[1] for crop in crops)
        width = -(-widest // _GRID) * _GRID
        batch = np.zeros((len(crops), 3, LINE_HEIGHT, width), np.float32)
        for row, crop in zip(batch, crops, strict=True):
            row[:, :, : crop.shape[1]] = _normal(crop)
        scores = self._recognizer.session(batch)
        best = scores.argmax(axis=2)
        probable = np.take_along_axis(scores, best[:, :, None], axis=2)[:, :, 0]
        return [
            self._decode(indices, odds, width / crop.shape[1])
            for indices, odds, crop in zip(best, probable, crops, strict=True)
        ]

    def _decode(
        self, indices: NDArray[np.int64], odds: NDArray[np.float32], stretch: float
    ) -> RecognizedLine:
        # CTC decoding: 0 is blank, and a repeat is the same character.
        is_character = indices != 0
        is_character[1:] &= indices[1:] != indices[:-1]
        columns = np.flatnonzero(is_character)
        places = (columns + 0.5) / len(indices) * stretch
        text = "".join(self._alphabet[indices[columns]])
        return RecognizedLine(text, np.minimum(places, 1.0).astype(np.float32), odds[columns])


@dataclass(frozen=True, slots=True)
class _Tile:
    """A part of a page to search. It owns the lines in a range along an axis (0 is x)."""

    left: int
    top: int
    right: int
    bottom: int
    axis: int
    low: float
    high: float


def _tiles(height: int, width: int, max_side: int) -> list[_Tile]:
    """Return the page as one tile; a long strip (a receipt, a screenshot) as several, since
    downscaling it would make it illegible."""
    longer, shorter = max(height, width), min(height, width)
    if longer <= max_side or longer <= _STRIP * shorter:
        return [_Tile(0, 0, width, height, 0, -np.inf, np.inf)]
    axis = 0 if width > height else 1
    part, shared = _STRIP * shorter / 2, shorter / 4
    count = math.ceil(longer / part)
    tiles = []
    for i in range(count):
        low, high = longer * i / count, longer * (i + 1) / count
        a, b = int(max(0, low - shared)), int(min(longer, high + shared))
        low, high = (low if i else -np.inf), (high if i + 1 < count else np.inf)
        box = (a, 0, b, height) if axis == 0 else (0, a, width, b)
        tiles.append(_Tile(*box, axis, low, high))
    return tiles


def _normal(picture: Picture) -> NDArray[np.float32]:
    """Scale colours to -1 to 1, channels first."""
    return np.ascontiguousarray(picture.transpose(2, 0, 1), np.float32) / 127.5 - 1.0


def network_files(config: OcrModel) -> tuple[Path, Path]:
    """Return the files of the two networks, from the configured weights or from rapidocr."""
    if config.weights is not None:
        folder = fetch_weights(config.weights.model, config.weights.sha256, OCR_FILES)
        return folder / OCR_FILES.models[0], folder / OCR_FILES.others[0]
    models = Path(rapidocr.__file__).parent / "models"
    detector, recognizer = (sorted(models.glob(f"PP-OCR*_{k}_*.onnx")) for k in ("det", "rec"))
    return detector[0], recognizer[0]


def weights_digest(config: OcrModel) -> str:
    """Return the SHA-256 over the two networks' files, or over the detector's and Tesseract's."""
    detector, recognizer = network_files(config)
    digest = hashlib.sha256(detector.read_bytes())
    if config.recognizer == "tesseract":
        digest.update(tesseract_digest(config).encode())
    else:
        digest.update(recognizer.read_bytes())
    return digest.hexdigest()


def _check_language(config: OcrModel, alphabet: frozenset[str]) -> None:
    """Raise ConfigError if the alphabet of the ONNX recogniser lacks letters of the language."""
    if config.language is None:
        return
    language = LANGUAGES[config.language]
    missing = language.missing(alphabet)
    if missing:
        shown = " ".join(missing[:_SHOWN]) + (" ..." if len(missing) > _SHOWN else "")
        raise ConfigError(
            f"{config.name}: the recogniser cannot write {language.name}: it lacks {len(missing)} "
            f"letters ({shown}) and would leave them out; set recognizer: tesseract, or weights "
            "whose recognizer.onnx has them"
        )


def _fall_back(name: str, problem: str, gpu: float, cpu_fallback: bool) -> None:
    if not cpu_fallback:
        raise ConfigError(
            f"{name} has num_gpus {gpu:g} but would run on the CPU: {problem}; or set "
            "pool.cpu_fallback to accept that"
        )
    _LOG.warning("%s runs on the CPU: %s", name, problem)


def _limits(config: OcrModel, gpu: float | None) -> list[dict[str, str]]:
    """Return the CUDA provider settings of each network, such that both fit in one GPU share."""
    gpu_total = gpu_memory() if gpu else None
    if not gpu or gpu_total is None:
        return [{}, {}]
    sizes = read_ocr(*network_files(config))
    check_ocr(sizes, config, gpu, gpu_total)
    estimates = ocr_parts(sizes, config)
    budget = gpu_total * min(1.0, gpu) - CUDA_CONTEXT
    return [
        {
            "gpu_mem_limit": str(int(budget * estimate / sum(estimates))),
            "arena_extend_strategy": "kSameAsRequested",
            # The search for the fastest convolution may use all remaining GPU memory; this bounds
            # it.
            "cudnn_conv_use_max_workspace": "0",
        }
        for estimate in estimates
    ]
