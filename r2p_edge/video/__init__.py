"""Video files and other sources of frames, and the choice of the frames that make a clip."""
