"""A decoder plugin of pydicom: 12-bit JPEG with GDCM, which pydicom's own plugin for it refuses.

GDCM prints "Unsupported JPEG data precision 12" on stderr before it tries its 12-bit decoder.
"""

from __future__ import annotations

import sys
from importlib.util import find_spec

from pydicom.pixels.decoders.base import DecodeRunner, JPEGExtended12BitDecoder
from pydicom.uid import JPEGExtended12Bit

DECODER_DEPENDENCIES = {JPEGExtended12Bit: ("gdcm>=3.0.24",)}
_LABEL = "medspan"


def add_plugin() -> None:
    """Make pydicom use this decoder where no other reads a frame."""
    named = {*JPEGExtended12BitDecoder.available_plugins}
    if is_available(JPEGExtended12Bit) and _LABEL not in named:
        JPEGExtended12BitDecoder.add_plugin(_LABEL, (__name__, decode_frame.__name__))


def is_available(uid: str) -> bool:
    """Return True if the transfer syntax is 12-bit JPEG and GDCM is installed."""
    return uid == JPEGExtended12Bit and ("gdcm" in sys.modules or find_spec("gdcm") is not None)


def decode_frame(src: bytes, runner: DecodeRunner) -> bytes:
    """Decode a frame of one gray sample a pixel; raises NotImplementedError for colours."""
    import gdcm  # type: ignore[import-untyped]  # imported here: part of an extra

    if runner.samples_per_pixel != 1:
        raise NotImplementedError("12-bit JPEG in colour")
    fragment = gdcm.Fragment()
    fragment.SetByteStringValue(src)
    fragments = gdcm.SequenceOfFragments.New()
    fragments.AddFragment(fragment)
    element = gdcm.DataElement(gdcm.Tag(0x7FE0, 0x0010))
    element.SetValue(fragments.__ref__())
    image = gdcm.Image()
    image.SetNumberOfDimensions(2)
    image.SetDimensions((runner.columns, runner.rows, 1))
    image.SetDataElement(element)
    kind = gdcm.PhotometricInterpretation.GetPIType(str(runner.photometric_interpretation))
    image.SetPhotometricInterpretation(gdcm.PhotometricInterpretation(kind))
    syntax = gdcm.TransferSyntax.GetTSType(str.__str__(runner.transfer_syntax))
    image.SetTransferSyntax(gdcm.TransferSyntax(syntax))
    stored = runner.bits_stored
    image.SetPixelFormat(
        gdcm.PixelFormat(1, runner.bits_allocated, stored, stored - 1, runner.pixel_representation)
    )
    content = image.GetBuffer()  # bytes as a string
    return bytes(content.encode("utf-8", "surrogateescape"))
