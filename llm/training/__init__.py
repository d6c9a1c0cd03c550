"""Training one network on one loss: settings, batches, the trainer and its checkpoints."""
