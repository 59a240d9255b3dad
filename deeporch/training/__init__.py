"""Training: the loop, its losses, what a trained network answers; on one GPU, recorded; in several processes."""
