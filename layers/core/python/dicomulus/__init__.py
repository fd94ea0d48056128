"""A DICOMweb archive that computes metadata once, on arrival (PS3.18)."""

__version__ = "0.1.0"
