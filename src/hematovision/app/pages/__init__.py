"""The pages, one module each: they read what was clicked, call `hematovision.review`, and draw."""
