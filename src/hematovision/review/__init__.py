"""Review of uncertain predictions: records, queue and decisions, independent of any front end."""
