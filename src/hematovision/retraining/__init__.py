"""Training from reviewed cells: export, retraining in the background, and the model library."""
