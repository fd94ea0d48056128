"""What the archive does, written against the ports."""
