"""What a network sees: mel spectrograms, a constant-Q, and how they are varied."""
