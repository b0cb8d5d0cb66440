"""Clips to calibrate, test and train on."""
