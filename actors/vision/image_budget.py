"""Fit a document's pages into prompts within the context: scale, spread, split, or refuse."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import cv2
import numpy as np

from actors.config import ImageOptions
from actors.gguf import DocumentError
from actors.pages import DecodeLimits, open_pages
from actors.vision.projector import Pixels, Projector

_SHARED = 0.1  # overlap of neighbouring strips, relative to their height: each line is whole in one
_MOST_STRIPS = 16


class TooManyTokens(DocumentError):
    """Images that need more tokens than the context holds, if the policy is to refuse or nothing
    else helps."""


def pixels_of(content: bytes, options: ImageOptions) -> Iterator[Pixels]:
    """Yield the pages of an image or PDF as rendered. Raises PageError."""
    limits = DecodeLimits(
        dpi=options.dpi,
        max_pages=options.max_pages,
        max_pixels=int(options.max_megapixels * 1e6),
        text_layer=False,
    )
    for page in open_pages(content, limits):
        assert page.picture is not None  # without text layers every page is an image
        picture = np.ascontiguousarray(page.picture[:, :, ::-1])
        most = options.max_pixels
        if most is not None and page.width * page.height > most:
            scale = math.sqrt(most / (page.width * page.height))
            picture = resized(picture, int(page.width * scale), int(page.height * scale))
        yield picture


def resized(picture: Pixels, width: int, height: int) -> Pixels:
    """Downscale an image by area averaging."""
    size = max(1, width), max(1, height)
    return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.uint8)


def fit_pages(
    pages: Sequence[Pixels], token_limit: int, options: ImageOptions, projector: Projector
) -> tuple[list[list[Pixels]], list[str]]:
    """Distribute the pages over prompts with at most ``token_limit`` image tokens each.

    Also returns notes on what was done. Raises TooManyTokens.
    """
    if options.pages == "each":
        found = [
            _alone([page], token_limit, options, projector, i) for i, page in enumerate(pages, 1)
        ]
        prompts = [prompt for some, _ in found for prompt in some]
        return prompts, [note for _, notes in found for note in notes]
    return _alone(pages, token_limit, options, projector, 1)


def _alone(
    pages: Sequence[Pixels],
    token_limit: int,
    options: ImageOptions,
    projector: Projector,
    first: int,
) -> tuple[list[list[Pixels]], list[str]]:
    counts = [projector.count(page.shape[1], page.shape[0]) for page in pages]
    if sum(counts) <= token_limit:
        return [list(pages)], []
    if options.too_large == "refuse":
        raise TooManyTokens(
            f"the images need {sum(counts)} tokens but only {token_limit} are available; see "
            "images.too_large, images.max_tokens and context.n_ctx"
        )
    if options.too_large == "split":
        return _split(pages, counts, token_limit, projector, first)
    return _scaled(pages, counts, token_limit, projector, first)


def _scaled(
    pages: Sequence[Pixels],
    counts: Sequence[int],
    token_limit: int,
    projector: Projector,
    first: int,
) -> tuple[list[list[Pixels]], list[str]]:
    """Scale each page to a token budget proportional to its size."""
    scaled_pages, notes = [], []
    total = sum(counts)
    for number, (page, count) in enumerate(zip(pages, counts, strict=True), first):
        height, width, _ = page.shape
        share = count * token_limit // total
        size = projector.fitting(width, height, share)
        if size is None:
            raise TooManyTokens(
                f"page {number} needs {count} tokens at any size but only {share} are available; "
                "set images.too_large: split to spread pages over prompts, or a larger n_ctx"
            )
        scaled_pages.append(resized(page, *size) if size != (width, height) else page)
        if size != (width, height):
            notes.append(
                f"page {number}: scaled from {width} x {height} to {size[0]} x {size[1]} pixels "
                f"to fit the context"
            )
    return [scaled_pages], notes


def _split(
    pages: Sequence[Pixels],
    counts: Sequence[int],
    token_limit: int,
    projector: Projector,
    first: int,
) -> tuple[list[list[Pixels]], list[str]]:
    prompts: list[list[Pixels]] = []
    notes: list[str] = []
    remaining = 0
    for number, (page, count) in enumerate(zip(pages, counts, strict=True), first):
        if count > token_limit:
            strips = _strips(page, token_limit, projector, number)
            prompts += [[strip] for strip in strips]
            notes.append(f"page {number}: split into {len(strips)} strips to fit the context")
            remaining = 0
        elif count <= remaining:
            prompts[-1].append(page)
            remaining -= count
        else:
            prompts.append([page])
            remaining = token_limit - count
    if len(prompts) > 1:
        notes.append(f"{len(pages)} pages were spread over {len(prompts)} prompts")
    return prompts, notes


def _strips(page: Pixels, token_limit: int, projector: Projector, number: int) -> list[Pixels]:
    height, width, _ = page.shape
    for count in range(2, _MOST_STRIPS + 1):
        tall = math.ceil(height / (count - (count - 1) * _SHARED))
        if projector.count(width, tall) <= token_limit:
            step = (height - tall) / (count - 1)
            starts = [round(i * step) for i in range(count)]
            return [np.ascontiguousarray(page[start : start + tall]) for start in starts]
    raise TooManyTokens(
        f"page {number} needs more than {token_limit} tokens even in {_MOST_STRIPS} strips: set "
        "images.max_tokens or a larger n_ctx"
    )
