"""Online serving: the same Extractors as in batch, behind HTTP, with a web page.

The HTTP application does not depend on Ray. It calls the ``Models`` protocol, implemented by
``LocalModels`` in one process and by ``HostedModels`` over Serve replicas. The catalogue lists the
models and pipelines that a request may name.

Imports nothing here, so that creating a token does not import a web framework.
"""
