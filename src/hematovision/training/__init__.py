"""Training: features, heads, fine-tuning, and adapting a model to another lab."""
