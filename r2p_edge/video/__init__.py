"""Video files and other sources of frames, and which frames of one make a clip."""
