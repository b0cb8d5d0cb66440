"""Calibration of int8 models and evaluation of models on data sets."""
