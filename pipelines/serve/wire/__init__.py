"""Wire types: requests, responses, errors and offset units."""
