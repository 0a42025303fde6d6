"""Lakes: listing and reading sources, the layout of runs, and which rows hold now.

``files`` lists, ``units`` plans, ``read`` reads, ``schema`` says what the tables hold, ``layout``
writes and commits, ``check`` looks for what must not be committed.
"""
