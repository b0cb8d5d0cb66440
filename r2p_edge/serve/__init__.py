"""A server that answers clips and video files over HTTP, in the KServe v2 protocol."""
