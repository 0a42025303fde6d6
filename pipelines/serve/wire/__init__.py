"""What travels: requests, responses, errors and offset units."""
