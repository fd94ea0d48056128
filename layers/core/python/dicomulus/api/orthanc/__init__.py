"""Orthanc's REST API: one module for each of its capabilities, and the table of its routes."""
