"""Lists of videos in the forms that data sets and training programs write them in."""
