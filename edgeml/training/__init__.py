"""Training on the device: losses and optimizers in one graph with the model."""
