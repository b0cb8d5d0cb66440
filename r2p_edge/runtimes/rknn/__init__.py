"""Rockchip's NPUs: RKNN-Toolkit-Lite2 on a board, RKNN-Toolkit2's simulator on a PC."""
