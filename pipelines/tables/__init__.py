"""The tables below a sink: their schemas, the files of units, commits and snapshots.

The only room that knows the table format (Delta, by delta-rs). ``folder`` reads and writes files,
``schema`` and ``rows`` say what the tables hold, ``columns`` which types they take, ``unit_files``
writes what a worker has done, ``delta`` opens and changes one table, ``commit`` changes all of them
as one, ``snapshot`` reads what is live, ``diff`` compares two snapshots.
"""
