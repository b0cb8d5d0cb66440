"""MindSpore Lite and Ascend, through MindSpore Lite's converter."""
