"""xinglin (杏林): turn an open language model into a medical one, and prove it."""

__version__ = "0.1.0"
