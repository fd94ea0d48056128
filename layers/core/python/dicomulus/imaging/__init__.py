"""Pixels: decoded, transformed for display and encoded; imported by what renders alone."""
