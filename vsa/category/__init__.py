"""Paper section 3.1: image selection; category prediction by model, search and fusion."""
