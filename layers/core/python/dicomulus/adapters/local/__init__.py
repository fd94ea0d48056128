"""SQLite and a folder behind the ports."""
