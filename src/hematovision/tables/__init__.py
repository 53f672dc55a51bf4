"""Tables of rows: what they look like on disk, and how an interrupted one is resumed."""
