"""De-identification: recall and precision by category, documents without a leak, speed."""
