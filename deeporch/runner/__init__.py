"""Running notebooks without a browser."""
