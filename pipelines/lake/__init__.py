"""Lakes: listing and reading sources, the layout of runs, and which rows hold now.

``files`` lists, ``units`` plans, ``read`` reads, ``schema`` says what the tables hold, ``layout``
writes and commits, ``check`` looks for what must not be committed.
"""

from __future__ import annotations

from actors.extras import optional_imports

with optional_imports("a lake"):
    import pyarrow as _pyarrow  # noqa: F401  what every module of this room imports
