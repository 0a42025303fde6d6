"""The online way: the Extractors of batch behind HTTP, with a page.

``app`` is the HTTP application and knows nothing of Ray: it asks a ``Models`` (``service``), which
is ``LocalModels`` in one process or ``hosted``'s replicas in a cluster. ``catalogue`` says what can
be asked for, ``schema`` and ``errors`` what goes over the wire, ``admission``, ``tokens`` and
``guard`` what is let in, ``build`` makes the Serve application, and ``running`` runs it.

Imports nothing here: what makes a token should not wait for a web framework.
"""
