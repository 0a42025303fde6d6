"""The `images` section of a vision model's file: presentation and limits of images.

The weights of the image encoder are ``weights.mmproj``.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from actors.config.base import ConfigSection


class ImageOptions(ConfigSection):
    """Presentation of images and PDFs to a vision model."""

    pages: Literal["together", "each"] = Field(
        "together",
        description="together: all pages of a document in one prompt. each: one prompt per page, "
        "with the answers merged.",
    )
    too_large: Literal["scale", "split", "refuse"] = Field(
        "scale",
        description="What to do if images need more tokens than the context holds. scale: "
        "downscale them. split: spread pages over several prompts, and cut a page that is too "
        "large alone into strips. refuse: fail the document. The action is reported in the step's "
        "problems.",
    )
    text: bool = Field(
        False,
        description="Include the OCR text in the prompt, below the images. Answers are grounded in "
        "that text in any case, if there is one.",
    )
    min_tokens: int | None = Field(
        None, ge=1, description="Minimum tokens per image; smaller images are upscaled."
    )
    max_tokens: int | None = Field(
        None,
        ge=1,
        description="Maximum tokens per image; larger images are downscaled. Like min_tokens only "
        "for encoders with dynamic resolution, such as Qwen's; default: from the weights.",
    )
    max_pixels: int | None = Field(
        None, ge=1024, description="Images with more pixels are downscaled before anything else."
    )
    output_tokens: int | None = Field(
        None,
        ge=1,
        description="Tokens reserved for the answer next to images; default: n_predict, but at "
        "most half of n_ctx, or a quarter if n_predict is -1.",
    )
    encode_tokens: int = Field(
        1024,
        ge=1,
        description="Images of the same size are encoded in one batch of up to this many tokens, "
        "if the encoder supports it.",
    )
    dpi: int = Field(150, ge=36, le=600, description="Resolution at which PDF pages are rendered.")
    max_pages: int = Field(50, ge=1, description="A file with more pages or frames fails.")
    max_megapixels: float = Field(
        60.0,
        gt=0,
        description="An image with more fails before it is decoded; a PDF page is rendered at a "
        "lower resolution instead.",
    )

    RUNNING = frozenset({"encode_tokens"})

    @model_validator(mode="after")
    def _in_order(self) -> ImageOptions:
        if self.min_tokens and self.max_tokens and self.max_tokens < self.min_tokens:
            raise ValueError("max_tokens must be at least min_tokens")
        return self
