"""What the command does at other DICOMweb servers: storing, retrieving, forwarding."""
