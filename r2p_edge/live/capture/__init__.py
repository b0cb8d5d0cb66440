"""Sources of live frames: cameras, network streams, pipelines and files."""
