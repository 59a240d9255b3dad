"""The networks, how they are built, saved and loaded."""
