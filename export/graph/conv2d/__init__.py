"""The exact form of a video network without 3-D operators."""
