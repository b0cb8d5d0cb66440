"""Where live frames come from: cameras, network streams, pipelines and files."""
