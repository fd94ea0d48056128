"""The dicomulus command."""
