"""Learning: features, heads, fine-tuning, and adapting a model to a laboratory."""
