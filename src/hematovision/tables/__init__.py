"""Tables of rows: file formats, and resuming interrupted runs."""
