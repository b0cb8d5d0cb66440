"""Engines of others that run this package on many machines."""
