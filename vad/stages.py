"""What a verb does with a model, its data and a run folder: fit, estimate, score."""
