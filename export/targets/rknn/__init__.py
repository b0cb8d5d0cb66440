"""Rockchip's NPUs, through RKNN-Toolkit2."""
