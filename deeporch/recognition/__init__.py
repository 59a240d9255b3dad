"""Naming the notes of any sound with a trained network."""
