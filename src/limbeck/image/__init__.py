"""Learning on pictures. Nothing is imported here: the configuration must be readable without torch."""
