"""The DICOM standard's vocabulary as values and tables, without I/O."""
