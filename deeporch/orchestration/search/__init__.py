"""The search for solutions: pursuit, local search, refinement by rendered sound."""
