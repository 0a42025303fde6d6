"""Batch processing: units of a lake pass through actor pools into committed tables.

``graph`` builds the Ray Data pipeline, ``stage_actor`` is the actor that holds a model, ``finish``
merges and writes units, ``run`` drives, counts and commits; ``describe`` implements the dry run.
Nothing is imported here: workers import what they run, not what drives them.
"""
