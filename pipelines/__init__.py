"""Pipelines over data lakes: sources, runs, tables, serving, the command line. All Ray is here."""
