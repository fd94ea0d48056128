"""A simulation of the deployed archive under load, from what the ledger counted."""
