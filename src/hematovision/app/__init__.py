"""The page in the browser: ``hematovision app``."""
