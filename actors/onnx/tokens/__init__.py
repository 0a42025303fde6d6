"""Token classifiers: windows of tokens to entities."""
