"""Conv stages trained on a CPU in fewer passes over memory than layer by layer."""
