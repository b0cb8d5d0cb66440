"""Pictures of an answer: the frames that the model saw, a table for notebooks, a chart."""
