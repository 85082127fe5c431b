"""Training: batches, losses, objectives, optimizers, schedules, the one loop, checkpoints, the recipe."""
