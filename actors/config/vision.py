"""The `images` section of a vision model's file: what it is shown, and what is done with too much.

The weights of the encoder are ``weights.mmproj``.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from actors.config.base import Section


class ImageOptions(Section):
    """How pictures and PDFs are shown to a vision model."""

    pages: Literal["together", "each"] = Field(
        "together",
        description="together: all pages of a document in one prompt. each: a prompt a page, and "
        "the answers joined.",
    )
    too_large: Literal["scale", "split", "refuse"] = Field(
        "scale",
        description="When pictures take more tokens than the context has room for. scale: they "
        "are made smaller. split: pages are spread over several prompts, and a page that is too "
        "large alone is cut in strips. refuse: the document fails. What was done is among the "
        "step's problems.",
    )
    text: bool = Field(
        False,
        description="Print the text that OCR read below the pictures. It grounds answers in any "
        "case, where there is one.",
    )
    min_tokens: int | None = Field(
        None, ge=1, description="Least tokens of a picture; smaller ones are enlarged."
    )
    max_tokens: int | None = Field(
        None,
        ge=1,
        description="Most tokens of a picture; larger ones are reduced. As min_tokens only for "
        "encoders that take pictures of any size, such as Qwen's; default: the weights' own.",
    )
    max_pixels: int | None = Field(
        None, ge=1024, description="A larger picture is reduced to so many pixels before all else."
    )
    output_tokens: int | None = Field(
        None,
        ge=1,
        description="Tokens that pictures leave free for the answer; default: n_predict, but at "
        "most half of n_ctx, and a quarter where n_predict is -1.",
    )
    encode_tokens: int = Field(
        1024,
        ge=1,
        description="Pictures of one size are encoded together up to so many tokens, where the "
        "encoder can.",
    )
    dpi: int = Field(150, ge=36, le=600, description="Resolution at which PDF pages are rendered.")
    max_pages: int = Field(50, ge=1, description="A file with more pages or frames fails.")
    max_megapixels: float = Field(
        60.0,
        gt=0,
        description="A picture with more fails before it is decoded; a PDF page is rendered "
        "coarser instead.",
    )

    RUNNING = frozenset({"encode_tokens"})

    @model_validator(mode="after")
    def _in_order(self) -> ImageOptions:
        if self.min_tokens and self.max_tokens and self.max_tokens < self.min_tokens:
            raise ValueError("max_tokens must be at least min_tokens")
        return self
