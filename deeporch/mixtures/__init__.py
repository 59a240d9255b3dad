"""Mixtures of notes: classes, splits, sampling, and making their sound."""
