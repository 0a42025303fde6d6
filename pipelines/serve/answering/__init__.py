"""Answer a request with models: admission, documents by URL, guidelines."""
