"""HTTP as values: media types, multipart, status."""
