"""How metadata is stored: fragments, bundles and their assembly."""
