"""The HTTP application: limits, authentication, request bodies, streaming."""
