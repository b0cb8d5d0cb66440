"""Folders of labelled videos: their contents, and splits of them for training and testing."""
